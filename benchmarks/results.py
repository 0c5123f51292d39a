"""What a benchmark leaves behind: `results/<benchmark>.json`, one part of it per table."""

import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

RESULTS = Path(__file__).parent / "results"
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of the result files.")]

FOLDERS = ("--shared", "--cache", "--results")
"""Options that only say where things lie on a machine."""
PACKAGES = ("torch", "transformers", "onnxruntime", "fastapi", "sqlalchemy", "psycopg", "uvicorn")
Row = dict[str, str | int | float | None]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Stored):
    cpu: str
    cores: int
    """Those that the benchmark may use."""
    memory_bytes: int
    system: str
    versions: dict[str, str]


class Target(_Stored):
    """A promised figure and the measured one: exactly one of the two bounds is set."""

    what: str
    measured: float | None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool:
        if self.measured is None:
            return False
        if self.at_least is not None:
            return self.measured >= self.at_least
        return self.at_most is not None and self.measured <= self.at_most

    @property
    def margin(self) -> float:
        """By how much the promise is kept, as a share of it where it is not zero; below zero where it is missed."""
        if self.measured is None:
            return -math.inf
        bound = self.at_most if self.at_least is None else self.at_least
        gain = self.measured - (bound or 0)
        return (gain if self.at_least is not None else -gain) / (abs(bound or 0) or 1)


class Chart(_Stored):
    """Which columns of a table its picture shows: two of numbers, of both the higher the better, and one of names."""

    x: str
    y: str
    names: str


class Later(_Stored):
    """Rows that were measured after the rest of their table."""

    rows: list[str]
    command: str


class Part(_Stored):
    """One table of a benchmark, and how it came about."""

    title: str
    command: str
    started: datetime
    seconds: float
    load: tuple[float, float]
    """Load average of the minute before the start and of the one before the end."""
    machine: Machine
    rows: list[Row]
    """All with the same keys, which head the columns."""
    targets: list[Target]
    notes: list[str]
    chart: Chart | None = None
    later: list[Later] = []


@dataclass(slots=True)
class Draft:
    """What a benchmark fills in; the rest of a part is found out for it."""

    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chart: Chart | None = None
    earlier: list[Row] = field(default_factory=list)
    """Rows that were there before, of a table that is amended."""

    @property
    def table(self) -> list[Row]:
        """All rows, the new ones in the places of those with their names."""
        new = {_name(row): row for row in self.rows}
        return [new.pop(_name(row), row) for row in self.earlier] + list(new.values())


@contextmanager
def record(benchmark: str, part: str, title: str, results: Path = RESULTS) -> Iterator[Draft]:
    """Measure inside; the part is written to `<results>/<benchmark>.json` at the end, unless something is raised."""
    draft = Draft()
    started, clock, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    yield draft
    finished = Part(
        title=title,
        command=repeating(benchmark, sys.argv[1:]),
        started=started.replace(microsecond=0),
        seconds=round(time.monotonic() - clock, 1),
        load=(round(load, 2), round(os.getloadavg()[0], 2)),
        machine=_machine(),
        rows=draft.rows,
        targets=draft.targets,
        notes=draft.notes,
        chart=draft.chart,
    )
    _put(benchmark, part, finished, results)


@contextmanager
def amend(benchmark: str, part: str, results: Path = RESULTS) -> Iterator[Draft]:
    """Measure inside rows of a table that is there already; its other rows stay, and how they came about.

    Rows are known by the words that they begin with, and stand in the order of the table's chart where it has one.
    Where it has targets, they are to be judged again, by the draft's whole table.
    """
    earlier = read(results / f"{benchmark}.json")[part]
    draft = Draft(earlier=earlier.rows)
    yield draft
    new = [_name(row) for row in draft.rows]
    rows = draft.table
    if earlier.chart is not None:
        order = earlier.chart.y
        rows.sort(key=lambda row: -float(row[order] or 0))
    before = [
        entry.model_copy(update={"rows": left})
        for entry in earlier.later
        if (left := [name for name in entry.rows if name not in new])
    ]
    later = [*before, Later(rows=new, command=repeating(benchmark, sys.argv[1:]))]
    changed = {"rows": rows, "targets": draft.targets, "later": later}
    _put(benchmark, part, earlier.model_copy(update=changed), results)


def _name(row: Row) -> str:
    return ", ".join(takewhile(lambda value: isinstance(value, str), row.values()))  # type: ignore[arg-type]


def _put(benchmark: str, part: str, finished: Part, results: Path) -> None:
    parts = read(results / f"{benchmark}.json") | {part: finished}
    results.mkdir(parents=True, exist_ok=True)
    dumped = {name: parts[name].model_dump(mode="json") for name in parts}
    (results / f"{benchmark}.json").write_text(json.dumps(dumped, indent=2, ensure_ascii=False) + "\n")


def repeating(benchmark: str, arguments: list[str]) -> str:
    """The command that measures again on another machine: of places on this one it keeps the name, if that."""
    words = iter(arguments)
    kept = []
    for word in words:
        if word in FOLDERS:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in FOLDERS)):
            kept.append(Path(word).name if Path(word).is_absolute() else word)
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *kept])


def read(file: Path) -> dict[str, Part]:
    """The parts of a result file by name; none where there is no such file."""
    if not file.exists():
        return {}
    return {name: Part.model_validate(part) for name, part in json.loads(file.read_text()).items()}


def _machine() -> Machine:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return Machine(
        cpu=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
