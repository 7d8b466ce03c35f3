"""Adapters that read rows (``core.ports.RowSource``)."""
