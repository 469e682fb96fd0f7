"""The bytes of one image, wherever it lies."""
