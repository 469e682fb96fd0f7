"""Disks and buckets behind one interface."""
