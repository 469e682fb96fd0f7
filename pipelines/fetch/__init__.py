"""Reads the bytes of one image from a disk, a bucket, a container or the web."""
