"""Writes benchmarks/README.md from the result files: `python -m benchmarks.report`."""

from pathlib import Path

import typer

from benchmarks.results import RESULTS, Machine, Part, ResultsOption, Row, Target, read

README = Path(__file__).parent / "README.md"
HEAD = """\
# Benchmarks

What the project promises, and what was measured. `python -m benchmarks.report` writes this page from `results/*.json`;
nothing in it is written by hand. `python -m benchmarks` repeats all measurements; the command of a single one stands
below its title. Models and rows come from a folder beside the project (`--shared` or `PLANKWRIGHT_SHARED`), and what is
derived from them goes to `PLANKWRIGHT_BENCHMARK_CACHE`.
"""


def main(results: ResultsOption = RESULTS, readme: Path = README) -> None:
    """Write the page of the benchmarks."""
    readme.write_text(
        render({file.stem: read(file) for file in sorted(results.glob("*.json"))}), encoding="utf-8"
    )


def render(results: dict[str, dict[str, Part]]) -> str:
    """The page for parts by benchmark and name."""
    parts = [part for benchmark in results.values() for part in benchmark.values()]
    summary = [{"part": part.title, **_judged(target)} for part in parts for target in part.targets]
    sections = [HEAD, "## Promises\n", _table(summary)] if summary else [HEAD]
    return "\n".join([*sections, *map(_section, parts)])


def _section(part: Part) -> str:
    load = " and ".join(f"{load:.2f}" for load in part.load)
    lines = [
        f"## {part.title}\n",
        f"`{part.command}`\n",
        f"{part.started:%Y-%m-%d}, {part.seconds / 60:.0f} minutes, {_described(part.machine)}; load average before "
        f"and after {load}.\n",
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
