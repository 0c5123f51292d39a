"""The Theseus of bert-squeeze, as shipped and repaired, beside the engine's preset `fast`: accuracy and time on SST-2.

    git clone https://github.com/JulesBelveze/bert-squeeze
    python3.11 -m venv squeeze
    squeeze/bin/pip install ./bert-squeeze torch==2.13.0 transformers==4.45.2 adapters==1.0.1 datasets==3.1.0 \\
        numpy==2.2.6 'setuptools<80'
    python -m benchmarks.bert_squeeze --code bert-squeeze --python squeeze/bin/python

It works with no newer versions. What is repaired stands in `bert_squeeze_code`. All run in fresh processes by turns,
with the same rows, as many steps of the same batch size and the same replacing rate; the loss of bert-squeeze and the
length of the rows are those of its own tutorial. Its last weights are measured, of the engine's those that are best on
the validation rows. A measurement that is interrupted goes on where it was.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Annotated, Any

import typer

from benchmarks import process
from benchmarks.data import CACHE, SHARED, CacheOption, Corpus, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.ledger import Ledger, unfinished
from benchmarks.methods import with_budget
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, Draft, ResultsOption, Row, Target, record
from benchmarks.runs import Material, run_engine
from benchmarks.theseus import BASE_RATE, BATCH, FULL_AT, LAYERS, PAPER_RATE, PRODUCT_RATE

SHIM = Path(__file__).parent / "bert_squeeze_code.py"
LENGTH = 64
"""Word pieces per row."""
SHIPPED, REPAIRED, ENGINE = "bert-squeeze, as shipped", "bert-squeeze, repaired", "engine, preset fast"
RATES = {SHIPPED: PAPER_RATE, REPAIRED: PRODUCT_RATE, ENGINE: PRODUCT_RATE}
"""Learning rates; as shipped it is that of the paper."""


@dataclass(frozen=True, slots=True)
class Run:
    accuracy: float
    """On the test rows."""
    examples_per_second: float
    training_cpu_seconds: float
    peak_rss_bytes: float
    trained: int | None = None
    """Parameters given to the optimizer, whether or not they take part."""
    stack: str | None = None
    before: float | None = None
    """Accuracy of the model that is compressed, where it was measured."""


@dataclass(frozen=True, slots=True)
class Rival:
    """The checkout with the interpreter of its environment, and the rows in the form that it reads."""

    code: Path
    python: Path
    model: Path
    rows: Path
    layers: int = LAYERS

    def run(
        self, *, repaired: bool, steps: int, learning_rate: float, length: int, seed: int, threads: int
    ) -> Run:
        settings = {
            "model": str(self.model.resolve()),
            "rows": str(self.rows),
            "layers": self.layers,
            "repaired": repaired,
            "steps": steps,
            "base_rate": BASE_RATE,
            "slope": (1 - BASE_RATE) / (FULL_AT * steps),
            "learning_rate": learning_rate,
            "length": length,
            "seed": seed,
            "threads": threads,
        }
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "settings.json"
            file.write_text(json.dumps(settings))
            finished = process.run(
                [self.code.resolve(), file],
                threads=threads,
                log=Path(name) / "log",
                python=(self.python.absolute(), SHIM),
                environment={"PYTHONPATH": "", "HF_HOME": name},
            )
        found = json.loads(finished.lines[-1].text)
        return Run(
            accuracy=found["accuracy"],
            examples_per_second=found["examples"] / found["training_wall_seconds"],
            training_cpu_seconds=found["training_cpu_seconds"],
            peak_rss_bytes=finished.peak_rss_bytes,
            trained=found["trained"],
            stack=found["stack"],
        )


def main(
    code: Annotated[Path, typer.Option(help="A checkout of bert-squeeze.")],
    python: Annotated[Path, typer.Option(help="The interpreter of its environment.")],
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    rows: Annotated[int, typer.Option(help="Training rows.")] = 4000,
    steps: Annotated[int, typer.Option(min=21)] = 250,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure bert-squeeze beside the engine and write results/bert_squeeze.json."""
    pin_to_cores(threads)
    model = fine_tuned(Task.SST2, shared, cache)
    corpus = read_corpus(Task.SST2, shared).with_train_rows(rows)
    with (
        record(
            "bert_squeeze", "sst2", "bert-squeeze and the engine, Theseus on SST-2, 6 to 3 layers", results
        ) as draft,
        unfinished(cache / "bert_squeeze.jsonl") as ledger,
        tempfile.TemporaryDirectory() as place,
    ):
        folder = Path(place)
        corpus.write(folder / "files")
        write_rows(corpus, folder / "rows")
        material, rival = (
            Material.prepare(model, folder / "files"),
            Rival(code, python, model, folder / "rows"),
        )
        runs: dict[str, list[Run]] = {name: [] for name in RATES}
        for seed in range(seeds):
            for name, done in runs.items():
                options: dict[str, Any] = {
                    "learning_rate": RATES[name],
                    "steps": steps,
                    "length": LENGTH,
                    "threads": threads,
                    "seed": seed,
                }
                measure = (
                    partial(engine, material, **options)
                    if name == ENGINE
                    else partial(rival.run, repaired=name == REPAIRED, **options)
                )
                done.append(measured(ledger, {"name": name, "rows": rows, **options}, measure))
        compare(runs, draft)
        draft.notes.append(
            f"{seeds} seeds, {steps} steps of {BATCH} rows, {rows:,} training rows of at most {LENGTH} word pieces. "
            f"{ledger.told()}"
        )


def measured(ledger: Ledger, run: dict[str, Any], measure: Callable[[], Run]) -> Run:
    return Run(**ledger.found(run, lambda: asdict(measure())))


def write_rows(corpus: Corpus, folder: Path) -> None:
    """A file of JSON lines for each split."""
    folder.mkdir()
    for split in ("train", "validation", "test"):
        lines = [
            json.dumps({"text": text, "label": int(str(label))}) for text, label in getattr(corpus, split)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def engine(
    material: Material, *, learning_rate: float, steps: int, length: int, threads: int, seed: int
) -> Run:
    step: dict[str, Any] = {
        "method": "theseus",
        "preset": "fast",
        "successor_layers": LAYERS,
        "schedule": {"type": "linear", "base_rate": BASE_RATE, "full_at": FULL_AT},
        "training": {"learning_rate": learning_rate, "batch_size": BATCH},
    }
    figures = run_engine(
        material, with_budget(step, steps), seed=seed, threads=threads, split="test", length=length
    )
    return Run(
        accuracy=figures.after,
        examples_per_second=figures.examples_per_second,
        training_cpu_seconds=figures.training_cpu_seconds,
        peak_rss_bytes=figures.peak_rss_bytes,
        before=figures.before,
    )


def compare(runs: Mapping[str, list[Run]], draft: Draft) -> None:
    """A row for each, and whether the engine is above both of bert-squeeze; CPU seconds bear a busy machine."""
    before = mean(run.before for run in runs[ENGINE] if run.before is not None)
    draft.rows += [row_of(name, done, before) for name, done in runs.items()]
    for name in (SHIPPED, REPAIRED):
        gain = mean(run.accuracy for run in runs[ENGINE]) - mean(run.accuracy for run in runs[name])
        draft.targets.append(Target(what=f"accuracy, engine minus {name}", measured=gain, at_least=0))
        times = median(
            theirs.training_cpu_seconds / ours.training_cpu_seconds
            for theirs, ours in zip(runs[name], runs[ENGINE], strict=True)
        )
        what = f"CPU seconds of training, {name} over engine"
        draft.targets.append(Target(what=what, measured=times, at_least=1))
    draft.notes.append(
        f"The original has an accuracy of {before:.4f}. bert-squeeze ran on {runs[SHIPPED][0].stack}."
    )


def row_of(name: str, runs: list[Run], before: float) -> Row:
    return {
        "code": name,
        "learning rate": RATES[name],
        "accuracy": mean(run.accuracy for run in runs),
        "sd": stdev(run.accuracy for run in runs),
        "by seed": " ".join(f"{run.accuracy:.4f}" for run in runs),
        "retention": mean(run.accuracy for run in runs) / before,
        "examples/s": mean(run.examples_per_second for run in runs),
        "training CPU s": mean(run.training_cpu_seconds for run in runs),
        "peak MiB": round(mean(run.peak_rss_bytes for run in runs) / 2**20),
        "parameters to train": runs[0].trained,
    }


if __name__ == "__main__":
    typer.run(main)
