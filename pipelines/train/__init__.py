"""The training job, in one process or on a Ray cluster."""
