"""How Alembic reaches the database: by `PLANKWRIGHT_DATABASE`, unless `db.migrate` was given another one."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from core.settings import Settings
from db.clock import UtcDateTime
from db.engine import create_database_engine
from db.models import Base


def _render_item(kind: str, item: Any, autogenerate: AutogenContext) -> str | Literal[False]:
    """Migrations do not import our types, which may change after them."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _run() -> None:
    url = context.config.attributes.get("url") or Settings().database_url
    engine = create_database_engine(url)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,
            render_item=_render_item,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


_run()
