"""The forms of the flows, as Prefect's UI shows them."""
