"""Points in the embedded index, Qdrant Edge."""
