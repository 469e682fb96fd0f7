"""How far a run is, how fast, and what failed in it."""
