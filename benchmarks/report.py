"""Writes benchmarks/README.md with its pictures, and what was measured into the project's README and the methods'
cards.

python -m benchmarks.report
"""

import json
from pathlib import Path
from statistics import mean
from typing import Any

import typer

from benchmarks.methods import SHARE, STEPS
from benchmarks.picture import Point, scatter
from benchmarks.results import RESULTS, Chart, Later, Machine, Part, ResultsOption, Row, Target, read

README = Path(__file__).parent / "README.md"
ROOT = Path(__file__).parent.parent
FRONT = ROOT / "README.md"
CARDS = ROOT / "compression" / "methods"
MARKS = "<!-- what was measured: written by python -m benchmarks.report -->", "<!-- to here -->"
HEAD = """\
# Benchmarks

What the project promises, and what was measured. `python -m benchmarks.report` writes this page from `results/*.json`;
nothing in it is written by hand. `python -m benchmarks` repeats all measurements; the command of a single one stands
below its title. Models and rows come from a folder beside the project (`--shared` or `PLANKWRIGHT_SHARED`), and what is
derived from them goes to `PLANKWRIGHT_BENCHMARK_CACHE`.
"""


ABOUT = {
    "theseus": ("quality-", "claims-", "delivered-quality"),
    "layer_drop": ("quality-",),
    "distill": ("quality-",),
    "quantize": ("delivered-quality",),
}
"""How the names of the parts begin that a method's card has whole, beside its rows among all methods."""
AMONG = """\
All methods with as many training steps, from 6 layers to 3 or as many bytes, measured on the test rows, which choose
nothing. Each row has its place by retention; the next better and the next worse stand beside, with the settings of
their own cards. Megabytes are those of the weights, with their share of the original's; speed is that of one row on one
thread. `benchmarks/README.md` has all rows, the machine and the commands.
"""
GLANCE = """\
The share of the metric that each method keeps, from 6 layers to 3 or as many bytes, with as many training steps for
all. Speed is that of one row on one thread, beside the original in torch; like the bytes it is a mean over the tasks.
"""


def main(
    results: ResultsOption = RESULTS, readme: Path = README, front: Path = FRONT, cards: Path = CARDS
) -> None:
    """Write the page of the benchmarks, and what was measured into the project's page and the methods' cards."""
    parts = read_all(results)
    readme.write_text(render(parts), encoding="utf-8")
    put(front_page(parts), front)
    for card in cards.glob("*/README.md"):
        put(measured(card.parent.name, parts), card)
    for name, svg in pictures(parts).items():
        file = readme.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(svg, encoding="utf-8")


def read_all(results: Path) -> dict[str, Part]:
    """The parts of all benchmarks, by both names."""
    files = sorted(results.glob("*.json"))
    return {f"{file.stem}-{name}": part for file in files for name, part in read(file).items()}


def render(parts: dict[str, Part]) -> str:
    """The page of the benchmarks."""
    promises = summary(parts)
    sections = [HEAD, "## Promises\n", promises] if promises else [HEAD]
    if glance := overview(parts):
        sections += ["## All methods at a glance\n", glance]
    return "\n".join([*sections, *(_section(name, part) for name, part in parts.items())])


def pictures(parts: dict[str, Part]) -> dict[str, str]:
    """The pictures of the page, by the names of their files."""
    return {_picture(name): _drawn(part.rows, part.chart) for name, part in parts.items() if part.chart}


def _picture(name: str) -> str:
    return f"pictures/{name}.svg"


def _drawn(rows: list[Row], chart: Chart) -> str:
    named = [(str(row[chart.names]), row[chart.x], row[chart.y]) for row in rows]
    points = [Point(name, float(x), float(y)) for name, x, y in named if x is not None and y is not None]
    return scatter(points, chart.x, chart.y)


def put(text: str, page: Path) -> None:
    """Write a text between the two marks of a page."""
    page.write_text(with_measured(page.read_text("utf-8"), text), encoding="utf-8")


def with_measured(page: str, text: str) -> str:
    """A page with the text between its two marks; ValueError where they do not stand there once each."""
    begin, end = MARKS
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def front_page(parts: dict[str, Part]) -> str:
    """What the project's page says of what was measured."""
    return "\n".join(text for text in (abridged(parts), overview(parts)) if text)


def overview(parts: dict[str, Part]) -> str:
    """What every method keeps on every task that it was measured on, the best first; nothing where none was measured.

    Tasks differ in how much can be kept, and not all methods were measured on all: those come first that keep the most
    beside the average of each task.
    """
    tables = {task: {str(row["method"]): row for row in part.rows} for task, part in _tasks(parts).items()}
    usual = {task: mean(map(_retention, rows.values())) for task, rows in tables.items()}
    found: dict[str, dict[str, Row]] = {}
    for task, rows in tables.items():
        for method, row in rows.items():
            found.setdefault(method, {})[task] = row

    def gain(method: str) -> float:
        return mean(_retention(row) - usual[task] for task, row in found[method].items())

    glance: list[Row] = [
        {
            "method": method,
            **{task: f"{_retention(rows[task]):.3f}" if task in rows else "" for task in tables},
            "times as fast": f"{mean(float(row['times as fast'] or 0) for row in rows.values()):.1f}",
            "bytes": f"{mean(100 * float(row[SHARE] or 0) for row in rows.values()):.0f} %",
        }
        for method, rows in sorted(found.items(), key=lambda entry: -gain(entry[0]))
    ]
    return f"{GLANCE}\n{_table(glance)}" if found else ""


def _tasks(parts: dict[str, Part]) -> dict[str, Part]:
    """The tables of all methods, by task."""
    return {
        name.removeprefix("methods-"): part for name, part in parts.items() if name.startswith("methods-")
    }


def summary(parts: dict[str, Part]) -> str:
    """What was promised, and whether it was reached."""
    return _table(
        [{"part": part.title, **_judged(target)} for part in parts.values() for target in part.targets]
    )


def abridged(parts: dict[str, Part]) -> str:
    """Of each part the promises that were missed, or else the one that was kept most narrowly."""
    rows: list[Row] = []
    for part in parts.values():
        by_margin = sorted(part.targets, key=lambda target: target.margin)
        missed = [target for target in by_margin if not target.reached]
        kept = f"{len(by_margin) - len(missed)} of {len(by_margin)}"
        rows += [
            {"part": part.title, **_judged(target), "in all": kept} for target in missed or by_margin[:1]
        ]
    return _table(rows)


def measured(method: str, parts: dict[str, Part]) -> str:
    """What a method's card says: its rows among all methods, task by task, and the parts that are about it."""
    tasks = _tasks(parts)
    among = {task: _among(method, task, part.rows) for task, part in tasks.items()}
    lines = [AMONG, _table([row for rows in among.values() for row in rows])]
    own = {name: step for name, step in STEPS.items() if step["method"] == method}
    lines += [f"- {name}: {_set(step)}" for name, step in own.items()]
    for task, rows in among.items():
        lines += [f"- {task}: {tasks[task].notes[0].partition(';')[0]}"] if rows else []
        lines += [_later(entry, prefix=f"{task}, ") for entry in tasks[task].later if {*own} & {*entry.rows}]
    for name, part in parts.items():
        if name.startswith(ABOUT.get(method, ())):
            rows = [{key: row[key] for key in row if key != "by seed"} for row in part.rows]
            lines += [
                "",
                f"{part.title}, `{part.command}`:\n",
                _table(rows),
                *(f"- {note}" for note in part.notes[:1]),
                *map(_later, part.later),
            ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _among(method: str, task: str, rows: list[Row]) -> list[Row]:
    """A method's rows of a table of all methods, with the next better and the next worse one."""
    rows = sorted(rows, key=_retention, reverse=True)
    own = [i for i, row in enumerate(rows) if STEPS.get(str(row["method"]), {}).get("method") == method]
    near = {*own, own[0] - 1, own[-1] + 1} if own else set()
    return [_compact(task, row, rows, i in own) for i, row in enumerate(rows) if i in near]


def _compact(task: str, row: Row, rows: list[Row], own: bool) -> Row:
    better = sum(_retention(other) > _retention(row) for other in rows)
    return {
        "task": task,
        "method": f"**{row['method']}**" if own else row["method"],
        "before": f"{row['before']:.4f}",
        "after": f"{row['after']:.4f} ± {row['sd']:.4f}",
        "retention": f"{row['retention']:.3f}",
        "label loyalty": "" if row["label loyalty"] is None else f"{row['label loyalty']:.3f}",
        "MB": f"{float(row['bytes'] or 0) / 1e6:.1f} ({100 * float(row[SHARE] or 0):.0f} %)",
        "times as fast": f"{row['times as fast']:.2f}",
        "training CPU s": f"{row['training CPU s']:.0f}",
        "place": f"{better + 1} of {len(rows)}",
    }


def _retention(row: Row) -> float:
    return float(row["retention"] or 0)


def _set(step: dict[str, Any]) -> str:
    settings = {name: value for name, value in step.items() if name != "method"}
    return f"`{json.dumps(settings)}`" if settings else "defaults"


def _section(name: str, part: Part) -> str:
    load = " and ".join(f"{load:.2f}" for load in part.load)
    lines = [
        f"## {part.title}\n",
        f"`{part.command}`\n",
        f"{part.started:%Y-%m-%d}, {part.seconds / 60:.0f} minutes, {_described(part.machine)}; load average before "
        f"and after {load}.\n",
        *([f"![{part.chart.y} over {part.chart.x}]({_picture(name)})\n"] if part.chart else []),
        _table(part.rows),
        *[f"- {note}" for note in part.notes],
        *map(_later, part.later),
    ]
    return "\n".join(lines) + "\n"


def _later(entry: Later, prefix: str = "") -> str:
    return f"- {prefix}measured later: {'; '.join(entry.rows)}. `{entry.command}`"


def _described(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gigabytes = machine.memory_bytes / 2**30
    return f"{machine.cores} cores of {machine.cpu}, {gigabytes:.0f} GiB, {machine.system}, {versions}"


def _judged(target: Target) -> Row:
    bound = (
        f"at least {_cell(target.at_least)}"
        if target.at_least is not None
        else f"at most {_cell(target.at_most)}"
    )
    unit = f" {target.unit}" if target.unit else ""
    return {
        "figure": target.what,
        "promised": bound + unit,
        "measured": _cell(target.measured) + unit,
        "reached": "yes" if target.reached else "**no**",
    }


def _table(rows: list[Row]) -> str:
    if not rows:
        return ""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(value: str | int | float | None) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return (value or "").replace("|", r"\|")


if __name__ == "__main__":
    typer.run(main)
