"""An ablation of PosSAM between two worlds: the candidates, their trainings, the table."""
