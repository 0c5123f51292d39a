"""`plankwright compress`: the same story with a server and without."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plankwright.cli import local, remote
from plankwright.cli.live import JobView
from plankwright.cli.outcome import Exit, outcome, report_error
from plankwright.cli.output import note, print_json, ready, say
from plankwright.cli.recipe import assignment, build_step, read_recipe
from plankwright.cli.report import print_report

if TYPE_CHECKING:
    from plankwright.client import Plankwright


DEFAULT_METHOD = "theseus"
OF_A_SERVER = ("queue", "auto_start")
"""Fields of a job that have no meaning without one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    model: Path
    splits: Mapping[str, Path]
    out: Path
    method: str | None
    layers: int | None
    epochs: float | None
    settings: Sequence[str]
    constraints: Sequence[str]
    exports: Sequence[str]
    recipe: Path | None
    seed: int | None
    as_json: bool

    def full_recipe(self, schema_of: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
        """The fields of a job, of which a recipe file may give any.

        Raises:
            typer.BadParameter: the file and the options do not go together.
        """
        recipe = read_recipe(self.recipe) if self.recipe else {}
        if "steps" not in recipe:
            method = self.method or DEFAULT_METHOD
            recipe["steps"] = [build_step(schema_of(method), method, self.layers, self.epochs, self.settings)]
        elif given := self._options_of_a_step():
            message = f"{self.recipe} has steps of its own, which {', '.join(given)} would not change: "
            raise typer.BadParameter(f"{message}write it into the file, or leave its steps out")
        if self.constraints:
            recipe["constraints"] = recipe.get("constraints", {}) | dict(map(assignment, self.constraints))
        if self.exports:
            recipe["exports"] = ["safetensors", *self.exports]
        if self.seed is not None:
            recipe["seed"] = self.seed
        return recipe

    def _options_of_a_step(self) -> list[str]:
        """Those that were given."""
        options = {
            "--method": self.method,
            "--layers": self.layers,
            "--epochs": self.epochs,
            "--set": self.settings or None,
        }
        return [option for option, value in options.items() if value is not None]


def _check_out(out: Path) -> None:
    """Refuse a folder with anything in it but the log of an attempt that came to nothing."""
    if out.exists() and any(file.name != local.LOG for file in out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty: name another folder", param_hint="--out")


def compress_here(order: Order) -> Exit:
    """In a process of the engine."""
    _check_out(order.out)
    recipe = order.full_recipe(local.method_schema)
    if queued := [name for name in OF_A_SERVER if name in recipe]:
        names = " and ".join(queued)
        raise typer.BadParameter(
            f"only a server has a use for {names}: leave that out of {order.recipe}, or leave out --local"
        )
    try:
        with JobView(shown=not order.as_json) as view:
            local.compress(order.model, order.splits, recipe, order.out, view.handle)
    except local.EngineFailed as error:
        report_error(error, order.as_json)
        return Exit.JOB_FAILED
    report = json.loads((order.out / "report.json").read_text(encoding="utf-8"))
    _show(order, report, None)
    return outcome("succeeded", report["verdict"])


def compress_on_server(order: Order, service: "Plankwright") -> Exit:
    """As a job. It goes on where this command is interrupted."""
    _check_out(order.out)
    recipe = order.full_recipe(lambda method: service.methods.get(method).json_schema)
    shown = not order.as_json
    job = remote.submit(service, order.model, order.splits, recipe, shown)
    if shown:
        note(f"{job.id}: if interrupted, go on with `plankwright jobs watch {job.id}`")
    ended = remote.watch(service, job.id, shown)
    if ended.state != "succeeded":
        if order.as_json:
            print_json({"job": ended.model_dump(mode="json", by_alias=True)})
        elif ended.reason:
            note(f"{ended.reason.message} [{ended.reason.code}]")
        return outcome(ended.state, ended.verdict)
    remote.fetch(service, job.id, order.out, shown)
    _show(order, service.jobs.report(job.id), ended.model_dump(mode="json", by_alias=True))
    return outcome(ended.state, ended.verdict)


def _show(order: Order, report: Mapping[str, Any], job: Mapping[str, Any] | None) -> None:
    model = order.out / "model"
    if order.as_json:
        print_json({"job": job, "out": str(order.out), "model": str(model), "report": report})
        return
    print_report(report)
    say(f"{ready(model)}; see also {order.out / 'report.html'}")
