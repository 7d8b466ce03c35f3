"""The sample catalogue and the loaders of public ones."""
