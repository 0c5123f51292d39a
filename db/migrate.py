"""Brings a database to the newest schema: `python -m db.migrate`."""

from pathlib import Path

from alembic import command
from alembic.config import Config

import migrations
from core.settings import Settings


def alembic_config(url: str) -> Config:
    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def migrate(url: str) -> None:
    command.upgrade(alembic_config(url), "head")


if __name__ == "__main__":
    migrate(Settings().database_url)
