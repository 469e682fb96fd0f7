"""Which parts of PosSAM pay, between two worlds: the candidates, their trainings, the table."""
