"""Checkpoints on disk: header, tensors, published encoder weights."""
