"""Time. Leases are compared with the database's clock only, since the clocks of machines differ."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, TypeDecorator, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware UTC in Python on every database; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class _Clock(FunctionElement[datetime]):
    type = UtcDateTime()
    inherit_cache = True


@compiles(_Clock)
def _on_postgres(element: _Clock, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


@compiles(_Clock, "sqlite")
def _on_sqlite(element: _Clock, compiler: Any, **options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


def database_now(connection: Connection) -> datetime:
    return connection.scalars(select(_Clock())).one()
