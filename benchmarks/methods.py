"""Every method beside the others: what is left of quality, bytes and time, with as many training steps for all.

    python -m benchmarks.methods [--tasks mrpc] [--seeds 3] [--steps 250] [--rows 4000]

Each method makes a model of half the depth, or of as many bytes as that; quantisation has its own size. Weights are
chosen on the validation rows and measured on the test rows. A measurement that is interrupted goes on where it was, and
some rows alone (`--methods share`) take their places in the table that is there.
TextBrewer takes part where it is installed: `pip install '.[benchmarks]'`.
"""

import json
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from benchmarks import process
from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task
from benchmarks.ledger import Ledger, unfinished
from benchmarks.process import pin_to_cores
from benchmarks.quality import material_of
from benchmarks.results import RESULTS, Chart, ResultsOption, Row, amend, read, record
from benchmarks.runs import Figures, Material, quality_of, run_engine, write_spec
from compression.checkpoints.facts import TaskType
from compression.registry import METHODS

LAYERS = 3
CHOSEN: dict[str, dict[str, Any]] = {
    "theseus": {"method": "theseus", "successor_layers": LAYERS},
    "theseus, distilled": {"method": "theseus", "preset": "distilled", "successor_layers": LAYERS},
    "layer_drop": {"method": "layer_drop", "keep_layers": LAYERS},
    "layer_drop, untrained": {"method": "layer_drop", "keep_layers": LAYERS, "recovery": None},
    "layer_drop, fitted, untrained": {
        "method": "layer_drop",
        "keep_layers": LAYERS,
        "fitted": True,
        "recovery": None,
    },
    "truncate and fine-tune": {
        "method": "layer_drop",
        "keep_layers": LAYERS,
        "strategy": "top",
        "distillation": None,
    },
    "distill": {"method": "distill", "student_layers": LAYERS},
    "distill, growing": {"method": "distill", "preset": "growing", "student_layers": LAYERS},
    "distill, patient": {"method": "distill", "preset": "patient", "student_layers": LAYERS},
    "tinybert": {"method": "tinybert", "student_layers": LAYERS},
    "share": {"method": "share", "groups": LAYERS},
    "narrow": {"method": "narrow", "intermediate_size": 384},
    "narrow, untrained": {"method": "narrow", "intermediate_size": 384, "recovery": None},
    "low_rank": {"method": "low_rank", "keep_share": 0.763},
    "prune": {"method": "prune", "sparsity": 0.27},
    "ladabert": {"method": "ladabert", "ratio": 1.35},
    "trim_vocabulary": {"method": "trim_vocabulary", "keep_share": 0.545},
    "quantize": {"method": "quantize", "scheme": "int8-dynamic"},
}
"""By the names of the rows. What does not take layers away takes as many bytes as three of the six layers have."""
STEPS = CHOSEN | {
    name: {"method": name} for name in METHODS if name not in {step["method"] for step in CHOSEN.values()}
}
"""Methods that nothing is chosen for are as they are by default."""
RIVAL = "TextBrewer"
LENGTH = 128
LENGTHS: dict[TaskType, int] = {"question-answering": 384}
"""Word pieces per row, where they are others."""
RIVAL_NOTE = (
    f"{RIVAL} is GeneralDistiller 0.2.1.post1 with the matches published for three layers, begun from the last layer "
    "of each part; its last weights are measured, not its best."
)
SHARE = "of the original's"
CHART = Chart(x="times as fast", y="retention", names="method")


def main(
    tasks: Annotated[list[Task], typer.Option()] = list(Task),  # noqa: B006
    methods: Annotated[list[str], typer.Option(help="Rows of the table.")] = [*STEPS, RIVAL],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    rows: Annotated[int, typer.Option(help="Training rows at the most.")] = 4000,
    steps: Annotated[int, typer.Option(min=20)] = 250,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure all methods on all tasks and write results/methods.json."""
    pin_to_cores(threads)
    for task in tasks:
        title = f"Methods on {task}, 6 layers to 3 or as many bytes"
        some = not {*STEPS, RIVAL} <= {*methods} and task in read(results / "methods.json")
        with (
            amend("methods", task, results) if some else record("methods", task, title, results) as draft,
            unfinished(cache / f"methods-{task}.jsonl") as ledger,
            tempfile.TemporaryDirectory() as name,
        ):
            material = material_of(task, rows, shared, cache, Path(name))
            for method in methods:
                if serves(method, material):
                    step = with_budget(STEPS["distill" if method == RIVAL else method], steps)
                    run = {"task": task, "rows": rows, "method": method, "step": step}
                    found = measured(method, material, run, seeds, threads, ledger)
                    draft.rows.append(row_of(method, found, material.facts.bytes))
            draft.rows.sort(key=lambda row: -float(row["retention"] or 0))
            draft.chart = CHART
            draft.notes.append(
                f"{seeds} seeds, {steps} steps of 32 rows, at most {rows:,} training rows; trim_vocabulary, "
                "quantize and what is untrained train nothing. Models of one shape differ in latency by what else the "
                "machine did."
            )
            draft.notes.append(ledger.told())
            if any(row["method"] == RIVAL for row in draft.rows):
                draft.notes.append(RIVAL_NOTE)


def serves(method: str, material: Material) -> bool:
    if method == RIVAL:
        return find_spec("textbrewer") is not None and material.facts.task != "question-answering"
    return material.facts.task in METHODS[STEPS[method]["method"]].TASKS


def measured(
    method: str, material: Material, run: dict[str, Any], seeds: int, threads: int, ledger: Ledger
) -> list[Figures]:
    """A method's figures, once per seed."""
    measure = partial(
        run_textbrewer if method == RIVAL else run_engine,
        material,
        run["step"],
        threads=threads,
        split="test",
        length=LENGTHS.get(material.facts.task, LENGTH),
    )
    return [ledger.figures(run | {"seed": seed}, partial(measure, seed=seed)) for seed in range(seeds)]


def with_budget(step: dict[str, Any], steps: int) -> dict[str, Any]:
    """A step of a recipe that trains for so many steps, in all else as its method does by default.

    Everything is said in it, so that a run in the ledger is known by what its settings meant then.
    """
    kind = METHODS[step["method"]]
    training = kind.model_validate(step).trains
    if training is None:
        return step
    name = "training" if "training" in kind.model_fields else "recovery"
    budget = {**training.model_dump(), "epochs": 100, "max_steps": steps}
    return kind.model_validate({**step, name: budget}).model_dump(mode="json")


def run_textbrewer(material: Material, step: dict[str, Any], *, threads: int, **options: Any) -> Figures:
    """TextBrewer in a process of its own, with what a run of the engine would get."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "out"
        spec = write_spec(material, [step], folder, threads=threads, **options)
        command = ["benchmarks.textbrewer_recipe", str(spec), str(folder / "scratch")]
        finished = process.run(command, threads=threads, log=folder / "log")
    return Figures(**json.loads(finished.lines[-1].text))


def row_of(method: str, runs: list[Figures], original: int) -> Row:
    """`original` is the bytes of the weights to compress."""
    size = mean(run.bytes or 0 for run in runs)
    return {
        "method": method,
        **quality_of(runs),
        "bytes": round(size),
        SHARE: size / original,
        "latency, ms": mean(run.latency_ms or 0 for run in runs),
        "times as fast": mean(run.speedup or 0 for run in runs),
        "training CPU s": mean(run.training_cpu_seconds for run in runs),
        "all, CPU s": mean(run.cpu_seconds for run in runs),
    }


if __name__ == "__main__":
    typer.run(main)
