"""A job as it runs: a bar on a terminal, a line now and then elsewhere."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from plankwright.cli.output import note, progress

METRIC_NAMES = {"replacing_rate": "replacing rate", "loss": "loss"}
"""Metrics worth a place in the bar; validation (`eval.*`) has one, too."""
QUIET = ("created", "progress", "metric", "checkpoint", "ready", "result")
"""Events that are shown in the bar, or not at all."""


class JobView:
    """Fed with the events of a job, be they from a server or from the engine itself."""

    def __init__(self, shown: bool) -> None:
        self._values: dict[str, float] = {}
        self._shown = shown
        self._live = shown and progress.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}", markup=False),
        )
        self._bars = Progress(*columns, console=progress, disable=not self._live)
        self._task = self._bars.add_task("waiting", total=None, now="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def handle(self, type: str, message: str, data: Mapping[str, Any]) -> None:
        if type == "phase":
            self._bars.update(self._task, description=data["phase"])
        elif type == "metric":
            self._values |= data["values"]
        elif type == "progress":
            self._advance(data["step"], data["total"], data["eta_seconds"])
        if type not in QUIET and self._shown and not (self._live and type == "phase"):
            note(type if message in ("", type) else f"{type}: {message}")

    def _advance(self, step: int, total: int, eta_seconds: float | None) -> None:
        now = ", ".join(f"{name} {value:.3g}" for name, value in self._interesting())
        if eta_seconds:
            now += f", {eta_seconds:.0f} s left"
        self._bars.update(self._task, completed=step, total=total, now=now)
        if self._shown and not self._live and total:  # some jobs train nothing
            note(f"step {step} of {total}: {now}")

    def _interesting(self) -> list[tuple[str, float]]:
        named = [(name, self._values[key]) for key, name in METRIC_NAMES.items() if key in self._values]
        validated = [
            (f"validation {key.removeprefix('eval.')}", value)
            for key, value in self._values.items()
            if key.startswith("eval.")
        ]
        return named + validated
