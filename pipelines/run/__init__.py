"""The run folder: plan, shards, commits and manifest."""
