"""Hand-written product lines and works of the built-in sample catalogue: data only."""
