"""Keeps a Qdrant vector index in step with PostgreSQL, for every tenant."""

__version__ = "0.1.0"
