"""The steps, against fakes that pass the adapters' contracts."""
