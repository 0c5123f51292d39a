"""What every reader gives: column names, and rows in batches of text."""

from collections.abc import Iterable, Iterator, Sequence
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

Items = tuple[str, ...]
"""One value of a column of lists."""
Value = str | Items
Batch = list[tuple[Value, ...]]
"""The values of some rows, one tuple per column."""

Record = tuple[int, Sequence[Value]]
"""The number of a line, and the values that start there."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: list[str]
    batches: Iterator[Batch]
    lists: frozenset[str] = frozenset()
    """Columns whose values are lists of text; those of all others are text."""


def characters_of(value: Value) -> int:
    """How much there is to a value; an item of a list counts one more, since it is not free when it is empty."""
    return len(value) if isinstance(value, str) else sum(map(len, value)) + len(value)


def in_batches(records: Iterable[Record], columns: list[str], file: str, log: ProblemLog) -> Iterator[Batch]:
    """Rows of `columns` in batches of bounded size; those of another width or with too long a value go to the log."""
    rows: list[Sequence[Value]] = []
    read = characters = 0
    for number, row in records:
        if len(row) != len(columns):
            message = f"{len(columns)} columns are expected, {len(row)} were found"
            log.add("wrong_number_of_columns", message, f"{file}:{number}")
            continue
        lengths = [characters_of(value) for value in row]
        if max(lengths) > MAX_FIELD:
            column = columns[lengths.index(max(lengths))]
            log.add(
                "field_too_long",
                f"column {column!r} is longer than {MAX_FIELD} characters",
                f"{file}:{number}",
            )
            continue
        rows.append(row)
        characters += sum(lengths)
        if len(rows) == BATCH_ROWS or characters > BATCH_CHARACTERS:
            read += len(rows)
            if read > MAX_ROWS:
                log.stop("too_many_rows", f"no more than {MAX_ROWS} rows are read", f"{file}:{number}")
            yield list(zip(*rows, strict=True))
            rows, characters = [], 0
    if rows:
        yield list(zip(*rows, strict=True))


def check_columns(columns: list[str], place: str, log: ProblemLog) -> None:
    """Refuse names that are empty, equal or unprintable, and a single column that another separator would cut."""
    if not columns:
        log.stop("too_few_columns", "there is no column", place)
    only = columns[0][:MAX_NAME] if len(columns) == 1 else ""
    if separator := next((name for mark, name in SEPARATORS.items() if mark in only), ""):
        message = f"there is one column, {only!r}; it seems to use {separator}: .csv means commas, .tsv tabs"
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
