"""Formats that labels are exported to and corrections read from: both directions together."""
