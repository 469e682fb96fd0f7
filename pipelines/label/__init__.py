"""The labelling job: driver, Ray Data stage, and what each worker does."""
