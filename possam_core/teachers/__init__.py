"""Models that label: what they must give, and those besides PosSAM that are known here."""
