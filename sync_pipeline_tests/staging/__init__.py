"""Staged datasets."""
