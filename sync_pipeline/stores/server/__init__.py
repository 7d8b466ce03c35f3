"""Points on a Qdrant server."""
