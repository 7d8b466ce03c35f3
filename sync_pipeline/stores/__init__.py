"""Adapters that keep points (``core.ports.VectorStore``)."""
