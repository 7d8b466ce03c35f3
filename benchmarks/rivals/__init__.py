"""What people write or take instead of a pipeline; it runs in an environment of its own."""
