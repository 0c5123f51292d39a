"""Rows of one table, typed as its class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection, Select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.selectable import TypedReturnsRows

from db.models import Base

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: Sequence[Row]
    has_more: bool


def one(connection: Connection, statement: TypedReturnsRows[Row]) -> Row | None:
    return cast("Row | None", connection.execute(statement).one_or_none())


def many(connection: Connection, statement: TypedReturnsRows[Row]) -> Sequence[Row]:
    return cast("Sequence[Row]", connection.execute(statement).all())


def newest_first(
    connection: Connection,
    statement: Select[Row],
    id: InstrumentedAttribute[str],
    *,
    after: str | None,
    limit: int,
) -> Page[Row]:
    """One page of a list; `after` is the id of the last row of the page before. Ids sort by time."""
    if after is not None:
        statement = statement.where(id < after)
    rows = many(connection, statement.order_by(id.desc()).limit(limit + 1))
    return Page(rows[:limit], has_more=len(rows) > limit)
