"""Runs labelling as a job on a Ray cluster, over its Jobs API."""
