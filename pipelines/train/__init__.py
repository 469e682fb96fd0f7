"""The training job, alone or on a Ray cluster."""
