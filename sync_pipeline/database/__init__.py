"""Our state in PostgreSQL: tables, index state, embedding cache, quarantine, leases, migrations."""
