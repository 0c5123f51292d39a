"""Writes benchmarks/README.md with its pictures, and the table in the project's README, from the result files.

python -m benchmarks.report
"""

from pathlib import Path

import typer

from benchmarks.picture import Point, scatter
from benchmarks.results import RESULTS, Chart, Machine, Part, ResultsOption, Row, Target, read

README = Path(__file__).parent / "README.md"
FRONT = Path(__file__).parent.parent / "README.md"
FRONT_TABLE = "<!-- what was measured: written by python -m benchmarks.report -->", "<!-- to here -->"
HEAD = """\
# Benchmarks

What the project promises, and what was measured. `python -m benchmarks.report` writes this page from `results/*.json`;
nothing in it is written by hand. `python -m benchmarks` repeats all measurements; the command of a single one stands
below its title. Models and rows come from a folder beside the project (`--shared` or `PLANKWRIGHT_SHARED`), and what is
derived from them goes to `PLANKWRIGHT_BENCHMARK_CACHE`.
"""


def main(results: ResultsOption = RESULTS, readme: Path = README, front: Path = FRONT) -> None:
    """Write the page of the benchmarks, and their summary into the project's page."""
    parts = read_all(results)
    readme.write_text(render(parts), encoding="utf-8")
    front.write_text(with_summary(front.read_text("utf-8"), parts), encoding="utf-8")
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
    summary = _summary(parts)
    sections = [HEAD, "## Promises\n", summary] if summary else [HEAD]
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


def with_summary(page: str, parts: dict[str, Part]) -> str:
    """A page whose text between the two marks of FRONT_TABLE is what was promised and measured."""
    begin, end = FRONT_TABLE
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{_summary(parts)}\n{end}{after}"


def _summary(parts: dict[str, Part]) -> str:
    return _table(
        [{"part": part.title, **_judged(target)} for part in parts.values() for target in part.targets]
    )


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
    ]
    return "\n".join(lines) + "\n"


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
