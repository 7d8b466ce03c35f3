"""Measurements of sync-pipeline; ``python -m benchmarks.run`` takes them."""
