"""What every reader gives: column names, and rows in batches of text."""

from collections.abc import Iterator
from dataclasses import dataclass

from compression.data.problems import ProblemLog

MAX_FIELD = 131_072
"""Characters of one value; the default limit of the csv module."""
MAX_ROWS = 10_000_000
MAX_COLUMNS = 100
MAX_NAME = 200
SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}
BATCH_ROWS = 16_384
BATCH_CHARACTERS = 16_000_000

Batch = list[tuple[str, ...]]
"""The values of some rows, one tuple per column."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: list[str]
    batches: Iterator[Batch]


def check_columns(columns: list[str], place: str, log: ProblemLog) -> None:
    """Refuse names that are empty, equal or unprintable, and tables of a single column."""
    if len(columns) < 2:
        only = columns[0][:MAX_NAME] if columns else ""
        separator = next((name for mark, name in SEPARATORS.items() if mark in only), "")
        hint = f"; it seems to use {separator}: .csv means commas, .tsv tabs" if separator else ""
        message = f"a text and a label are needed, but there is one column, {only!r}{hint}"
        log.stop("too_few_columns", message, place)
    if len(columns) > MAX_COLUMNS:
        message = f"there are {len(columns)} columns; no more than {MAX_COLUMNS} are read"
        log.stop("too_many_columns", message, place)
    before = len(log)
    for position, name in enumerate(columns, 1):
        if not name.strip():
            message = f"column {position} has no name (does the file have a header?)"
            log.add("empty_column_name", message, place)
        elif len(name) > MAX_NAME or not name.isprintable():
            message = f"the name of column {position} is too long or holds control characters: {name[:50]!r}"
            log.add("invalid_column_name", message, place)
        elif name in columns[: position - 1]:
            log.add("duplicate_column_name", f"column {position} is the second one named {name!r}", place)
    log.raise_if_any(beyond=before)
