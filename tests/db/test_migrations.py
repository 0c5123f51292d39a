from alembic import command
from sqlalchemy import inspect

from db.engine import create_database_engine
from db.migrate import alembic_config


def test_migrations_give_exactly_the_tables_of_the_models(database_url: str) -> None:
    command.check(alembic_config(database_url))


def test_downgrade_leaves_nothing(database_url: str) -> None:
    command.downgrade(alembic_config(database_url), "base")
    engine = create_database_engine(database_url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
