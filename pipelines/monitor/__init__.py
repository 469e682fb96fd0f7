"""The progress, speed and failures of a run."""
