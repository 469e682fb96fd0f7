"""Prefect flows: order, gates and artifacts around the jobs of `pipelines`; no image code."""

from possam_core.extras import require

require("prefect", "flows")
