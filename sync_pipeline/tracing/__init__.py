"""Traces of runs and searches, for those who collect them (``core.ports.Tracer``)."""
