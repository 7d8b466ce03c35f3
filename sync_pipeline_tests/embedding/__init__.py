"""Embedders and the sparse encoder."""
