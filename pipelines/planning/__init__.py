"""From a corpus to a frozen plan: candidates, samples, canaries, retries, series."""
