"""Decoding of image files, and padded batches of their pixels."""
