"""The engine's Theseus, preset `fast`, beside the paper's own recipe: training speed, peak memory, accuracy.

    python -m benchmarks.theseus [--only full_length] [--seeds 3] [--steps 750] [--speed-steps 480]

Both run in fresh processes by turns on the same cores, with the same rows, as many steps of the same batch size and the
same replacing rate, which rises from 0.3 to 1 over the first half. The rows are enough for one pass, so that the engine
validates once, at the end, and has nothing to choose from.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import mean, median, stdev
from typing import Annotated

import typer
from tokenizers import Tokenizer

from benchmarks.data import CACHE, SHARED, Corpus, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, Draft, ResultsOption, Row, Target, record
from benchmarks.runs import Figures, Material, run_engine, run_reference
from compression.methods.theseus.params import TheseusParams

LAYERS = 3
BATCH = 32
LENGTH = 128
BASE_RATE, FULL_AT = 0.3, 0.5
PAPER_RATE = 2e-5
"""Learning rate of the paper's README."""
PRODUCT_RATE = TheseusParams().training.learning_rate


class Comparison(StrEnum):
    SST2 = "sst2"
    FULL_LENGTH = "full_length"
    DYNAMIC_PADDING = "dynamic_padding"


@dataclass(frozen=True, slots=True)
class Setting:
    title: str
    speedup: float
    """Examples per second, engine over paper, that must be reached."""
    padding: str = "max"
    """Of the paper's recipe."""
    filled: bool = False
    """Every training row is `LENGTH` word pieces long."""
    accuracy: bool = False
    """Trained long enough to compare accuracy too, at the learning rates of both."""
    memory: float | None = None
    """Peak memory, engine over paper, that must not be passed."""


SETTINGS = {
    Comparison.SST2: Setting("Theseus training on SST-2, 6 to 3 layers", speedup=35, memory=0.5),
    Comparison.FULL_LENGTH: Setting(
        f"Theseus training, every row {LENGTH} word pieces long", speedup=4, filled=True
    ),
    Comparison.DYNAMIC_PADDING: Setting(
        "Theseus training, the paper's recipe with dynamic padding",
        speedup=8,
        padding="longest",
        accuracy=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the recipes that take turns; `run` takes the seed."""

    name: str
    learning_rate: float
    run: Callable[[int], Figures]


@dataclass(frozen=True, slots=True)
class Bench:
    material: Material
    steps: int
    threads: int

    def paper(self, learning_rate: float, padding: str) -> Arm:
        def run(seed: int) -> Figures:
            return run_reference(
                self.material,
                threads=self.threads,
                steps=self.steps,
                successor_layers=LAYERS,
                base_rate=BASE_RATE,
                full_at=FULL_AT,
                learning_rate=learning_rate,
                batch_size=BATCH,
                length=LENGTH,
                padding=padding,
                seed=seed,
            )

        padded = f"every row padded to {LENGTH}" if padding == "max" else "dynamic padding"
        return Arm(f"paper's recipe, {padded}", learning_rate, run)

    def engine(self, learning_rate: float, preset: str = "fast") -> Arm:
        step = {
            "method": "theseus",
            "preset": preset,
            "successor_layers": LAYERS,
            "schedule": {"type": "linear", "base_rate": BASE_RATE, "full_at": FULL_AT},
            "training": {
                "learning_rate": learning_rate,
                "batch_size": BATCH,
                "epochs": 100,
                "max_steps": self.steps,
                "evaluations_per_epoch": 1,
            },
        }

        def run(seed: int) -> Figures:
            return run_engine(
                self.material, step, seed=seed, threads=self.threads, batch_size=BATCH, length=LENGTH
            )

        return Arm(f"engine, preset {preset}", learning_rate, run)


def main(
    only: Annotated[list[Comparison], typer.Option(help="Comparisons to make.")] = list(Comparison),  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    steps: Annotated[int, typer.Option(min=21, help="Steps where accuracy is compared.")] = 750,
    speed_steps: Annotated[int, typer.Option(min=21, help="Steps where only speed is.")] = 480,
    rows: Annotated[int | None, typer.Option(help="Training rows; enough for one pass by default.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure the engine against the paper's recipe and write results/theseus.json."""
    pin_to_cores(threads)
    sst2, model = read_corpus(Task.SST2, shared), fine_tuned(Task.SST2, shared, CACHE)
    for comparison in only:
        setting = SETTINGS[comparison]
        length = steps if setting.accuracy else speed_steps
        corpus = sst2
        if setting.filled:
            corpus = sst2.filling(Tokenizer.from_file(str(model / "tokenizer.json")), LENGTH)
        with (
            record("theseus", comparison, setting.title, results) as draft,
            bench_on(corpus.with_train_rows(rows or length * BATCH), model, length, threads) as bench,
        ):
            _compare(setting, bench, seeds, draft)


def _compare(setting: Setting, bench: Bench, seeds: int, draft: Draft) -> None:
    rates = (PAPER_RATE, PRODUCT_RATE) if setting.accuracy else (PAPER_RATE,)
    arms = [arm for rate in rates for arm in (bench.paper(rate, setting.padding), bench.engine(rate))]
    runs = take_turns(arms, seeds, draft)
    paper, engine = ([run for done in runs[side::2] for run in done] for side in (0, 1))
    compare_speed(paper, engine, setting.speedup, draft)
    if setting.memory:
        ratio = median(e.peak_rss_bytes / p.peak_rss_bytes for p, e in zip(paper, engine, strict=True))
        draft.targets.append(
            Target(what="peak memory, engine over paper", measured=ratio, at_most=setting.memory)
        )
    if setting.filled:
        draft.notes.append(
            "Training rows are SST-2 rows of one label joined; the validation rows are SST-2's."
        )
    if setting.accuracy:
        for i, rate in enumerate(rates):
            compare_accuracy(rate, runs[2 * i], runs[2 * i + 1], draft)


@contextmanager
def bench_on(corpus: Corpus, model: Path, steps: int, threads: int) -> Iterator[Bench]:
    """What the arms share, on the disk as long as they run."""
    with tempfile.TemporaryDirectory() as name:
        corpus.write(Path(name))
        yield Bench(Material.prepare(model, Path(name)), steps, threads)


def take_turns(arms: list[Arm], seeds: int, draft: Draft) -> list[list[Figures]]:
    """Every arm once per seed, one after the other: what disturbs the machine disturbs all alike. A row for each."""
    runs: list[list[Figures]] = [[] for _ in arms]
    for seed in range(seeds):
        for arm, done in zip(arms, runs, strict=True):
            done.append(arm.run(seed))
            said = f"seed {seed}, {arm.name}, rate {arm.learning_rate:g}: {done[-1].examples_per_second:.1f} examples/s"
            print(f"{said}, {done[-1].after:.4f}, {done[-1].wall_seconds:.0f} s", file=sys.stderr)
    draft.rows += [row_of(arm, done) for arm, done in zip(arms, runs, strict=True)]
    return runs


def row_of(arm: Arm, runs: list[Figures]) -> Row:
    loyal = [run.label_loyalty for run in runs if run.label_loyalty is not None]
    return {
        "recipe": arm.name,
        "learning rate": arm.learning_rate,
        "examples/s": mean(run.examples_per_second for run in runs),
        "examples/s, warm": mean(run.examples_per_second_warm for run in runs),
        "training CPU s": mean(run.training_cpu_seconds for run in runs),
        "all, wall s": mean(run.wall_seconds for run in runs),
        "all, CPU s": mean(run.cpu_seconds for run in runs),
        "peak MiB": round(mean(run.peak_rss_bytes for run in runs) / 2**20),
        "accuracy": mean(run.after for run in runs),
        "sd": stdev(run.after for run in runs),
        "by seed": " ".join(f"{run.after:.4f}" for run in runs),
        "retention": mean(run.retention for run in runs),
        "label loyalty": mean(loyal),
        "probability loyalty": mean(run.probability_loyalty for run in runs),
    }


def compare_speed(paper: list[Figures], engine: list[Figures], at_least: float, draft: Draft) -> None:
    """Pairs that ran next to each other, so that a slow spell of the machine hardly tells."""
    pairs = list(zip(paper, engine, strict=True))
    wall = median(e.examples_per_second / p.examples_per_second for p, e in pairs)
    cpu = median(p.training_cpu_seconds / e.training_cpu_seconds for p, e in pairs)
    draft.targets.append(
        Target(what="examples per second, engine over paper", measured=wall, at_least=at_least)
    )
    draft.notes.append(f"CPU seconds of training, paper over engine: {cpu:.1f}.")


def compare_accuracy(rate: float, paper: list[Figures], engine: list[Figures], draft: Draft) -> None:
    gain = mean(run.after for run in engine) - mean(run.after for run in paper)
    spread = stdev(run.after for run in paper)
    what = (
        f"accuracy, engine minus paper, learning rate {rate:g} (bound: one standard deviation of the paper's)"
    )
    draft.targets.append(Target(what=what, measured=gain, at_least=0 - spread))
    if spread:
        draft.notes.append(
            f"Learning rate {rate:g}: the difference is {gain / spread:+.1f} standard deviations."
        )


if __name__ == "__main__":
    typer.run(main)
