"""What Dagster sees and does."""
