"""The settings: where they come from, what is refused, and how that is said."""
