"""What a run would take, from a measured sample."""
