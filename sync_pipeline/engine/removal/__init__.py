"""What removes documents by decision: tenants, entities, leftovers."""
