"""Files of rows by one strict rule: all values become text or lists of text, and what is wrong is told with its line.

The fast readers disagree on bad input without a word (merged rows, mojibake, renamed columns); so the rules are ours.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

from compression.data.conll import read_conll, read_conllu
from compression.data.lines import clean_lines
from compression.data.parquet import read_parquet
from compression.data.problems import ProblemLog
from compression.data.squad import read_squad
from compression.data.table import MAX_FIELD, Batch, Items, Record, Table, Value, check_columns, in_batches
from compression.errors import InputError
from compression.strict_json import parse_json_object

NO_TEXT = re.compile(r"[\0\ud800-\udfff]")
"""NUL and half characters: JSON can spell them, but no other format or database can hold them."""


def read_table(path: Path, log: ProblemLog) -> Table:
    """Open a file by its extension, or a folder of such files; its rows are read as the batches are asked for.

    Raises:
        InputError: it cannot be read at all. Problems of single rows go to the log.
    """
    if path.is_dir():
        return _read_folder(path, log)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        message = f"the extension {path.suffix!r} is not one of {', '.join(READERS)}: rename the file to say what it is"
        log.stop("unknown_format", message, path.name)
    return reader(path, log)


def _read_folder(folder: Path, log: ProblemLog) -> Table:
    """The files of a folder, in the order of their names, as one; other files than tables lie there unread."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READERS and path.is_file())
    if not paths:
        log.stop("no_files", f"the folder holds no file of the kinds {', '.join(READERS)}", folder.name)
    first = read_table(paths[0], log)

    def batches() -> Iterator[Batch]:
        yield from first.batches
        for path in paths[1:]:
            table = read_table(path, log)
            if (table.columns, table.lists) != (first.columns, first.lists):
                message = f"it has other columns than {paths[0].name}, {', '.join(first.columns)}"
                log.stop("different_columns", message, path.name)
            yield from table.batches

    return Table(first.columns, batches(), first.lists)


def _read_txt(path: Path, log: ProblemLog) -> Table:
    """One text a line; where a line is empty, there is none."""
    lines = ((number, line.rstrip("\r\n")) for number, line in clean_lines(path, log))
    texts = ((number, [line]) for number, line in lines if line.strip())
    first = next(texts, None)
    if first is None:
        log.raise_if_any()
        log.stop("empty_file", "the file holds no text", path.name)
    return Table(["text"], in_batches(chain([first], texts), ["text"], path.name, log))


def _read_csv(path: Path, log: ProblemLog) -> Table:
    return _with_header(_csv_records(path, log), path, log)


def _read_tsv(path: Path, log: ProblemLog) -> Table:
    """Quotes are ordinary characters: the usual tab-separated corpora are full of lone ones."""
    records = ((number, line.rstrip("\r\n").split("\t")) for number, line in clean_lines(path, log))
    return _with_header(records, path, log)


def _csv_records(path: Path, log: ProblemLog) -> Iterator[Record]:
    reader = csv.reader((line for _, line in clean_lines(path, log)), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            code, message = _csv_problem(str(error))
            log.stop(code, message, f"{path.name}:{start}")
        if record is None:
            return
        yield start, record


def _csv_problem(error: str) -> tuple[str, str]:
    if "end of data" in error:
        return "unclosed_quote", "the quote that is opened here is never closed"
    if "field limit" in error:
        return (
            "field_too_long",
            f"a value is longer than {MAX_FIELD} characters, or its quote is never closed",
        )
    return "malformed_quote", "text follows a closing quote: a quote within quotes is written twice"


def _with_header(records: Iterator[Record], path: Path, log: ProblemLog) -> Table:
    first = next(records, None)
    if first is None:
        log.stop("empty_file", "the file is empty", path.name)
    number, columns = first[0], [str(name) for name in first[1]]
    check_columns(columns, f"{path.name}:{number}", log)
    first_row = list(islice(records, 1))
    if not first_row:
        log.add("no_rows", "the file has a header, but no rows", path.name)
    return Table(columns, in_batches(chain(first_row, records), columns, path.name, log))


def _read_jsonl(path: Path, log: ProblemLog) -> Table:
    """One object a line, all with the keys of the first."""
    objects = _json_objects(path, log)
    first = next(objects, None)
    if first is None:
        log.raise_if_any()
        log.stop("empty_file", "the file is empty", path.name)
    columns = list(first[1])
    check_columns(columns, f"{path.name}:{first[0]}", log)
    lists = frozenset(name for name, value in first[1].items() if isinstance(value, list))
    records = _json_records(chain([first], objects), columns, lists, path.name, log)
    return Table(columns, in_batches(records, columns, path.name, log), lists)


def _json_objects(path: Path, log: ProblemLog) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in clean_lines(path, log):
        try:
            yield number, _flat(parse_json_object(line, f"{path.name}:{number}"))
        except InputError as error:
            log.add(error.code, error.problems[0].message, error.problems[0].place)


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Objects of lists, as the answers of many question data sets are, become a column for each list."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value and all(isinstance(inner, list) for inner in value.values()):
            flat |= {f"{name}.{inner_name}": inner for inner_name, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _json_records(
    objects: Iterable[tuple[int, dict[str, Any]]],
    columns: list[str],
    lists: frozenset[str],
    file: str,
    log: ProblemLog,
) -> Iterator[Record]:
    keys = set(columns)
    for number, content in objects:
        if content.keys() != keys:
            names = ", ".join(repr(name[:50]) for name in sorted(content.keys() ^ keys)[:5])
            message = f"the first line has other keys; only one of the two lines has {names}"
            log.add("different_keys", message, f"{file}:{number}")
            continue
        values = [_as_items(content[name]) if name in lists else _as_text(content[name]) for name in columns]
        if None in values:
            column = columns[values.index(None)]
            kind = "lists of single values" if column in lists else "single values"
            message = f"{column!r} holds something else than {kind}, as in the first line, or text that is no Unicode"
            log.add("unsupported_value", message, f"{file}:{number}")
            continue
        yield number, cast(list[Value], values)


def _as_items(value: Any) -> Items | None:
    """The texts that a JSON list is kept as; None for what is not accepted."""
    items = [_as_text(item) for item in value] if isinstance(value, list) else [] if value is None else [None]
    return None if None in items else tuple(cast(list[str], items))


def _as_text(value: Any) -> str | None:
    """The text that a JSON value is kept as; None for what is not accepted."""
    if isinstance(value, str):
        return None if NO_TEXT.search(value) else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else None


READERS: dict[str, Callable[[Path, ProblemLog], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".txt": _read_txt,
    ".json": read_squad,
    ".conll": read_conll,
    ".conllu": read_conllu,
    ".parquet": read_parquet,
}
