"""What the paper says of Theseus, looked at again at this scale.

    python -m benchmarks.claims [--only modules] [--tasks mrpc] [--seeds 3] [--steps 250] [--rows 4000]

The paper compresses 12 layers to 6 for hours; here 6 layers become 3 in minutes, with the engine's preset `fast`. So
no number can be the paper's: what is compared is which choice is better than which. Weights are chosen on the
validation rows and measured on the test rows. A measurement that is interrupted goes on where it was.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer
from scipy.stats import spearmanr

from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task
from benchmarks.ledger import Ledger, unfinished
from benchmarks.process import pin_to_cores
from benchmarks.quality import material_of
from benchmarks.results import RESULTS, Draft, ResultsOption, record
from benchmarks.runs import Figures, Material, compress, quality_of, run_engine

LAYERS = 3
FULL_AT = 0.5
BASE_RATE = 0.3
FALLING = [round(1 - (1 - BASE_RATE) * i / 9, 4) for i in range(10)]
SCHEDULES: dict[str, dict[str, Any]] = {
    "curriculum": {"type": "linear", "base_rate": BASE_RATE, "full_at": FULL_AT},
    "constant": {"type": "constant", "rate": 0.5, "full_at": FULL_AT},
    "anti-curriculum": {"type": "step", "rates": FALLING, "full_at": FULL_AT},
}
PAPER_SCHEDULES = {
    Task.SST2: {"curriculum": 91.5, "constant": 90.6, "anti-curriculum": 88.8},
    Task.MRPC: {"curriculum": 89.0, "constant": 87.1, "anti-curriculum": 85.6},
    Task.STSB: {"curriculum": 88.7, "constant": 88.4, "anti-curriculum": 85.4},
}
"""Development rows of GLUE, the paper's ablation of the schedule."""
RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
SAFE, COLLAPSES = (0.5, 0.7), 0.1
"""Constant rates, as the paper found them."""


class Claim(StrEnum):
    SCHEDULES = "schedules"
    RATES = "rates"
    MODULES = "modules"


@dataclass(frozen=True, slots=True)
class Trial:
    """A task to look at, with what is the same for all runs on it."""

    task: Task
    material: Material
    seeds: int
    rows: int
    steps: int
    threads: int
    ledger: Ledger

    def step(self, schedule: dict[str, Any]) -> dict[str, Any]:
        training = {"epochs": 100, "max_steps": self.steps, "evaluations_per_epoch": 1}
        return {"method": "theseus", "successor_layers": LAYERS, "schedule": schedule, "training": training}

    def runs(self, schedule: dict[str, Any]) -> list[Figures]:
        """Theseus with a schedule, once per seed."""
        step = self.step(schedule)
        settings: dict[str, Any] = {"threads": self.threads, "split": "test"}
        return [
            self.ledger.figures(
                self._run(step, seed), partial(run_engine, self.material, step, seed=seed, **settings)
            )
            for seed in range(self.seeds)
        ]

    def replaced(self) -> list[dict[str, float]]:
        """What is left of the metric where only some modules of a finished Theseus are replaced, once per seed."""
        step = self.step(SCHEDULES["curriculum"])

        def measure(seed: int) -> dict[str, float]:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out"
                compress(self.material, [step], out, seed=seed, threads=self.threads, split="test")
                return dict(mixtures(out))

        return [
            self.ledger.found(self._run(step, seed) | {"mixtures": True}, partial(measure, seed))
            for seed in range(self.seeds)
        ]

    def _run(self, step: dict[str, Any], seed: int) -> dict[str, Any]:
        return {"task": self.task, "rows": self.rows, "seed": seed, "step": step}


def main(
    only: Annotated[list[Claim], typer.Option(help="Claims to look at.")] = list(Claim),  # noqa: B006
    tasks: Annotated[list[Task], typer.Option()] = [Task.SST2, Task.MRPC],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    rows: Annotated[int, typer.Option(help="Training rows at the most.")] = 4000,
    steps: Annotated[int, typer.Option(min=20)] = 250,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Look at the paper's claims again and write results/claims.json."""
    pin_to_cores(threads)
    with ExitStack() as stack:
        trials = []
        ledger = stack.enter_context(unfinished(cache / "claims.jsonl"))
        for task in tasks:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            material = material_of(task, rows, shared, cache, folder)
            trials.append(Trial(task, material, seeds, rows, steps, threads, ledger))
        for claim in only:
            title, look = CLAIMS[claim]
            with record("claims", claim, title, results) as draft:
                for trial in trials:
                    look(trial, draft)
                draft.notes.append(
                    f"{seeds} seeds, {steps} steps of 32 rows, at most {rows:,} training rows."
                )
                draft.notes.append(ledger.told())


def look_at_schedules(trial: Trial, draft: Draft) -> None:
    paper = PAPER_SCHEDULES.get(trial.task, {})
    found = {name: trial.runs(schedule) for name, schedule in SCHEDULES.items()}
    for name, runs in found.items():
        draft.rows.append(
            {"task": trial.task, "schedule": name, **quality_of(runs), "paper": paper.get(name)}
        )
    means = {name: mean(run.retention for run in runs) for name, runs in found.items()}
    order = " > ".join(sorted(means, key=lambda name: -means[name]))
    said = f"{trial.task}: {order}"
    if paper:
        said += f"; rank correlation with the paper's {agreement([*means.values()], [paper[n] for n in means]):+.2f}"
    ahead = {name: means["curriculum"] - means[name] for name in means if name != "curriculum"}
    leads = " and ".join(f"{lead:+.4f} beside {name}" for name, lead in ahead.items())
    spread = max(stdev(run.retention for run in runs) for runs in found.values())
    beats_both = min(ahead.values()) > 0
    draft.notes.append(
        f"{said}. The curriculum keeps {leads} (largest standard deviation {spread:.4f}): "
        f"{'as' if beats_both else 'not as'} in the paper, where it beats both."
    )


def look_at_rates(trial: Trial, draft: Draft) -> None:
    kept = {}
    for rate in RATES:
        runs = trial.runs({"type": "constant", "rate": rate, "full_at": FULL_AT})
        draft.rows.append({"task": trial.task, "rate": rate, **quality_of(runs)})
        kept[rate] = mean(run.retention for run in runs)
    worst = min(kept, key=lambda rate: kept[rate])
    safe = all(kept[rate] > kept[COLLAPSES] for rate in SAFE)
    rising = agreement(list(kept), list(kept.values()))
    draft.notes.append(
        f"{trial.task}: the worst rate is {worst:g}; {COLLAPSES:g} keeps {'less' if safe else 'not less'} than "
        f"{' and '.join(f'{rate:g}' for rate in SAFE)}, {'as' if safe else 'not as'} in the paper; rank correlation of "
        f"the rate with what is kept {rising:+.2f}."
    )


def look_at_modules(trial: Trial, draft: Draft) -> None:
    found = trial.replaced()
    lost: dict[str, list[float]] = {name: [] for name in ("alone", "last")}
    for i in range(LAYERS):
        alone, rest = (
            [seed[name] / seed["none"] for seed in found] for name in (f"only {i + 1}", f"all but {i + 1}")
        )
        whole = [seed["all"] / seed["none"] for seed in found]
        draft.rows.append(
            {
                "task": trial.task,
                "module": i + 1,
                "kept with it alone replaced": mean(alone),
                "sd": stdev(alone),
                "kept with all others replaced": mean(rest),
                "sd of that": stdev(rest),
                "kept with all replaced": mean(whole),
            }
        )
        lost["alone"].append(1 - mean(alone))
        lost["last"].append(mean(rest) - mean(whole))
    hardest, dearest = (1 + values.index(max(values)) for values in lost.values())
    draft.notes.append(
        f"{trial.task}: replacing module {hardest} alone costs most, {'as' if hardest == 1 else 'not as'} in the "
        f"paper, where it is the first; where all are replaced, leaving out module {dearest} gains most."
    )


CLAIMS: dict[Claim, tuple[str, Callable[[Trial, Draft], None]]] = {
    Claim.SCHEDULES: ("Claim: the replacing rate should rise", look_at_schedules),
    Claim.RATES: ("Claim: a low replacing rate collapses", look_at_rates),
    Claim.MODULES: ("Claim: the first module is the hardest to replace", look_at_modules),
}


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(ours, theirs).statistic)


def mixtures(out: Path) -> Iterator[tuple[str, float]]:
    """The metric on the test rows, by name, of mixtures of the predecessor and the successor that are left in `out`."""
    import torch

    from compression.architectures import anatomy_of
    from compression.checkpoints.inspection import inspect_checkpoint
    from compression.checkpoints.loading import load_model, open_source
    from compression.evaluation.predict import predict
    from compression.methods.layer_choice import bounds_of
    from compression.methods.theseus.params import TheseusParams
    from compression.spec import RunSpec
    from compression.tasks.behaviour import behaviour_of
    from compression.tasks.encoding import encode_split

    spec = RunSpec.model_validate_json((out / "spec.json").read_bytes())
    params, metric = spec.plan.steps[0], spec.plan.evaluation.metric
    assert isinstance(params, TheseusParams)
    assert metric is not None
    source, cpu = open_source(spec.model), torch.device("cpu")
    rows = encode_split(source, spec.dataset, "test", spec.plan.task, None)
    model = load_model(source.folder, source.facts, cpu)
    anatomy = anatomy_of(model)
    layers = list(anatomy.layers_of(model))
    finished = load_model(out / "model", inspect_checkpoint(out / "model"), cpu)
    successors = list(anatomy.layers_of(finished))
    modules = [layers[first:end] for first, end in bounds_of(params.partition(len(layers)))]
    every = set(range(len(modules)))
    wanted = {"none": set[int](), "all": every}
    wanted |= {f"only {i + 1}": {i} for i in every} | {f"all but {i + 1}": every - {i} for i in every}
    for name, replaced in wanted.items():
        chain = [[successors[i]] if i in replaced else module for i, module in enumerate(modules)]
        anatomy.put_layers(model, [layer for part in chain for layer in part])
        yield name, behaviour_of(spec.plan.task).score(metric, predict(model, rows, lambda: None), rows)


if __name__ == "__main__":
    typer.run(main)
