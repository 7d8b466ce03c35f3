"""The state in PostgreSQL: embedded server, migrations, errors, and contracts of every adapter."""
