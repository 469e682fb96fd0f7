"""Formats that labels leave and come back in: how each is written, and how it is read."""
