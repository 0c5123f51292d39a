"""Lists in pages: newest first, by an opaque cursor that stays right while rows are added."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from re import fullmatch
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from api.errors import refusal
from api.problems import Code, ProblemItem
from db.repositories.rows import Page as RowPage

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list, newest first."""

    data: list[T]
    has_more: bool = Field(examples=[False])
    next_cursor: str | None = Field(
        description="For `cursor` of the next request; null on the last page", examples=[None]
    )


def page_of(rows: RowPage[Any], view: Callable[[Any], T]) -> dict[str, Any]:
    """The fields of a `Page`."""
    last = rows.rows[-1].id if rows.has_more else None
    return {
        "data": [view(row) for row in rows.rows],
        "has_more": rows.has_more,
        "next_cursor": last and urlsafe_b64encode(last.encode()).decode().rstrip("="),
    }


def after_cursor(cursor: str | None, id_pattern: str) -> str | None:
    """The id that a cursor stands for.

    Raises:
        ApiError: it is not one of ours.
    """
    if cursor is None:
        return None
    try:
        id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        if fullmatch(id_pattern, id):
            return id
    except ValueError:
        pass
    message = "this is not a cursor of this list: take `next_cursor` from its last page"
    raise refusal(
        Code.INVALID_REQUEST, [ProblemItem(pointer="/query/cursor", code="invalid_cursor", message=message)]
    )
