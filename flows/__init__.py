"""Prefect flows: order, gates and artifacts around the jobs of `pipelines`; no image code."""
