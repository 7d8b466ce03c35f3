"""The steps of a sync, against ports: export, embed, upsert, cleanup; and what looks at them."""
