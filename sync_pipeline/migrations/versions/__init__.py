"""One module per version, each revision named like its module; written once, never changed."""
