"""Adapters that turn texts into vectors (``core.ports.Embedder``, ``SparseEncoder``)."""
