"""The built-in sample catalogue and loaders for public catalogues."""
