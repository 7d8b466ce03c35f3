"""The HTTP service that answers searches."""
