"""Settings of jobs: YAML and flags to validated dataclasses."""
