"""What the methods keep of the metric, with as many training steps each, on real tasks.

    python -m benchmarks.quality [--only half] [--tasks mrpc] [--methods theseus] [--seeds 3] [--steps 1000]

Theseus with its most accurate preset beside distillation and truncate-and-fine-tune. The weights are chosen on the
validation rows and measured on the test rows, which no training sees. Other checkpoints than SST-2's are made once, in
minutes. A measurement that is interrupted goes on where it was, and some methods or tasks alone take their places in
the table that is there.
"""

import json
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.ledger import Ledger, unfinished
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, ResultsOption, Row, Target, amend, read, record
from benchmarks.runs import Figures, Material, quality_of, run_engine
from compression.registry import METHODS


class Method(StrEnum):
    THESEUS = "theseus"
    DISTILL = "distill"
    LAYER_DROP = "layer_drop"


FIELDS = {
    Method.THESEUS: ("successor_layers", "training"),
    Method.DISTILL: ("student_layers", "training"),
    Method.LAYER_DROP: ("keep_layers", "recovery"),
}
"""Where each method has its depth and its training."""


class Budget(StrEnum):
    HALF = "half"
    THIRD = "third"
    SMALL = "small"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Setting:
    title: str
    layers: int
    retention: float
    """Mean over the tasks that Theseus must keep."""
    tasks: tuple[Task, ...] = (Task.SST2, Task.MRPC, Task.STSB, Task.WNUT17)
    rows: int | None = None
    steps: int | None = None


SETTINGS = {
    Budget.HALF: Setting("Quality at half depth, 6 to 3 layers", layers=3, retention=0.995),
    Budget.THIRD: Setting("Quality at a third of the depth, 6 to 2 layers", layers=2, retention=0.98),
    Budget.SMALL: Setting(
        "Quality after 250 steps on 4,000 rows, 6 to 3 layers",
        layers=3,
        retention=0.96,
        tasks=(Task.SST2,),
        rows=4000,
        steps=250,
    ),
    Budget.LONG: Setting(
        "Quality after 3 epochs of SST-2, 6 to 3 layers",
        layers=3,
        retention=0.995,
        tasks=(Task.SST2,),
        steps=6315,
    ),
}


def main(
    only: Annotated[list[Budget], typer.Option(help="Settings to measure.")] = list(Budget),  # noqa: B006
    tasks: Annotated[list[Task], typer.Option(help="Tasks to measure them on.")] = list(Task),  # noqa: B006
    methods: Annotated[list[Method], typer.Option(help="Methods to measure.")] = list(Method),  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    steps: Annotated[int, typer.Option(min=20, help="Training steps, for all methods and tasks.")] = 1000,
    rows: Annotated[int | None, typer.Option(help="Training rows at the most.")] = None,
    theseus: Annotated[
        str, typer.Option(help="Params to set beside the defaults, as JSON.")
    ] = '{"preset": "distilled"}',
    distill: Annotated[str, typer.Option(help="Likewise.")] = "{}",
    layer_drop: Annotated[
        str, typer.Option(help="Likewise; by default the first layers stay: truncate and fine-tune.")
    ] = '{"strategy": "top", "distillation": null}',
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure what compression costs in quality and write results/quality.json."""
    pin_to_cores(threads)
    given = {
        Method.THESEUS: json.loads(theseus),
        Method.DISTILL: json.loads(distill),
        Method.LAYER_DROP: json.loads(layer_drop),
    }
    for budget in only:
        setting = SETTINGS[budget]
        chosen = [task for task in setting.tasks if task in tasks]
        if not chosen:
            continue
        recipes = {method: recipe_step(method, setting, steps, given[method]) for method in methods}
        part_of_it = {*methods} < {*Method} or {*chosen} < {*setting.tasks}
        some = part_of_it and budget in read(results / "quality.json")
        with (
            amend("quality", budget, results)
            if some
            else record("quality", budget, setting.title, results) as draft,
            unfinished(cache / f"quality-{budget}.jsonl") as ledger,
        ):
            for task in chosen:
                run: dict[str, Any] = {"task": task, "rows": setting.rows or rows}
                with tempfile.TemporaryDirectory() as name:
                    material = material_of(task, run["rows"], shared, cache, Path(name))
                    for method, done in _take_turns(run, material, recipes, seeds, threads, ledger).items():
                        draft.rows.append(_row(task, name_of(method, given[method]), done))
            draft.notes.append(f"{seeds} seeds, {setting.steps or steps} steps of 32 rows. {ledger.told()}")
            draft.targets += compared(setting, draft.table, name_of(Method.THESEUS, given[Method.THESEUS]))


def recipe_step(method: Method, setting: Setting, steps: int, given: dict[str, Any]) -> dict[str, Any]:
    """A step of a recipe: the method's own defaults, but for the depth, the budget and what is given.

    Everything is said in it, so that a run in the ledger is known by what its settings meant then.
    """
    depth, training = FIELDS[method]
    budget = {"epochs": 100, "max_steps": setting.steps or steps}
    step = {"method": method, depth: setting.layers, **given, training: {**budget, **given.get(training, {})}}
    return METHODS[method].model_validate(step).model_dump(mode="json")


def name_of(method: Method, given: dict[str, Any]) -> str:
    return f"{method}, {given['preset']}" if "preset" in given else method


def material_of(task: Task, rows: int | None, shared: Path, cache: Path, folder: Path) -> Material:
    """The rows of a task, of those to train on at most so many, and the checkpoint to compress."""
    corpus, model = read_corpus(task, shared), fine_tuned(task, shared, cache)
    if rows is not None and rows < len(corpus.train):
        corpus = corpus.with_train_rows(rows)
    corpus.write(folder)
    return Material.prepare(model, folder)


def _take_turns(
    run: dict[str, Any],
    material: Material,
    recipes: dict[Method, dict[str, Any]],
    seeds: int,
    threads: int,
    ledger: Ledger,
) -> dict[Method, list[Figures]]:
    runs: dict[Method, list[Figures]] = {method: [] for method in recipes}
    for seed in range(seeds):
        for method, step in recipes.items():
            measure = partial(run_engine, material, step, seed=seed, threads=threads, split="test")
            runs[method].append(ledger.figures({**run, "step": step, "seed": seed}, measure))
    return runs


def _row(task: Task, method: str, runs: list[Figures]) -> Row:
    return {
        "task": task,
        "method": method,
        **quality_of(runs),
        "all, wall s": mean(run.wall_seconds for run in runs),
    }


def compared(setting: Setting, table: list[Row], theseus: str) -> list[Target]:
    """What Theseus, by this name, keeps on average, and beside the other methods on each task."""
    kept = {(str(row["task"]), str(row["method"])): float(row["retention"] or 0) for row in table}
    tasks = [task for task, method in kept if method == theseus]
    if not tasks:
        return []
    what = f"retention, {theseus}: mean of {', '.join(tasks)}"
    average = mean(kept[task, theseus] for task in tasks)
    targets = [Target(what=what, measured=average, at_least=setting.retention)]
    for (task, rival), share in kept.items():
        if task in tasks and not rival.startswith(Method.THESEUS):
            what = f"retention, {theseus}: minus {rival}, {task}"
            targets.append(Target(what=what, measured=kept[task, theseus] - share, at_least=0))
    return targets


if __name__ == "__main__":
    typer.run(main)
