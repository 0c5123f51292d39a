"""Alembic migrations; `db.migrate` applies them."""
