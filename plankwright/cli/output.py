"""What commands print: results on standard output, progress on standard error."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from plankwright.transport import Progress as Callback

FILE_WIDTH = 160
"""Columns where standard output is no terminal, which has a width of its own."""

results = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
progress = Console(stderr=True, highlight=False)


def plain(value: object) -> Text:
    """Text of whoever, without meaning for the terminal."""
    return Text("".join(c if c.isprintable() else " " for c in str(value)))


def say(sentence: str) -> None:
    results.print(plain(sentence), soft_wrap=True)


def note(sentence: str) -> None:
    """On standard error, where it is in nobody's way."""
    progress.print(plain(sentence), soft_wrap=True)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, header in enumerate(headers):
        table.add_column(header, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(plain("" if value is None else value) for value in row))
    results.print(table)


def ready(model: Path) -> str:
    """That a model is here, and what loads it."""
    own = "plankwright_model.py"
    return f"{model} is ready to be loaded with {f'its {own}' if (model / own).exists() else 'transformers'}"


def print_facts(facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        results.print(Text.assemble((f"{name}: ", "bold"), plain(value)), soft_wrap=True)


@contextmanager
def transfer(label: str, shown: bool) -> Iterator[Callback]:
    """A bar for bytes on their way; `shown` is false where only JSON is wanted."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=progress, disable=not shown) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
