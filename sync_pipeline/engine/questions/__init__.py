"""What people and programs ask of an installation; nothing here writes to the index."""
