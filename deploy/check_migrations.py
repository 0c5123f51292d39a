"""`make migrations-check`: the migrations make exactly the tables of the models, on PostgreSQL and on SQLite."""

import tempfile

from alembic import command

from db.migrate import alembic_config, migrate
from tests.services import postgres_server


def main() -> None:
    with postgres_server() as server:
        _check("PostgreSQL", server.url)
    with tempfile.TemporaryDirectory() as folder:
        _check("SQLite", f"sqlite:///{folder}/plankwright.db")


def _check(name: str, url: str) -> None:
    print(f"{name}: ", end="", flush=True)
    migrate(url)
    command.check(alembic_config(url))


if __name__ == "__main__":
    main()
