"""Hand-over between steps (``core.ports.StagingArea``): Parquet in a folder or object store."""
