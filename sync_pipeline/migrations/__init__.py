"""Alembic environment of the state schema; run from Python by ``database.migrate``."""
