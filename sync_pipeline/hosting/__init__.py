"""Running Dagster on this machine: its instance, its processes, and this project in them."""
