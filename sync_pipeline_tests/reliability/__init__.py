"""Proof by faults: crashes, races, losses and attacks at the level of a whole sync."""
