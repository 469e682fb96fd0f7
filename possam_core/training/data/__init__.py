"""Data sets with their truth, read by training and evaluation."""
