"""The recipe of `possam-tiny`, from seeds to a checkpoint."""
