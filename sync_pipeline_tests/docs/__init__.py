"""The documents: what they show works, and their links lead somewhere."""
