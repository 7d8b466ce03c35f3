"""The steps of a sync: export, embed, upsert, cleanup; each takes what the one before staged."""
