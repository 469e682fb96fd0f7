"""Forecasts time, bytes and cost of a run from a measured sample."""
