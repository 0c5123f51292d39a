"""The official code of BERT-of-Theseus beside the port of it that the engine is measured against.

    git clone https://github.com/JetRunner/BERT-of-Theseus
    pip install --target packages-of-2020 --no-deps transformers==2.4.0 boto3 botocore jmespath s3transfer sacremoses \\
        sentencepiece tensorboardX
    python -m benchmarks.official --code BERT-of-Theseus --packages packages-of-2020

That is the transformers it was written for on today's torch and tokenizers; tokenizers of then has no build for Python
3.11. `--python` names the interpreter of an environment of 2020 instead: Python 3.7, torch 1.12.1, transformers 2.4.0.
Both run in fresh processes by turns; neither evaluates nor saves on the way.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.numpy import load_file

from benchmarks import process
from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, ResultsOption, Row, record
from benchmarks.theseus import BASE_RATE, BATCH, FULL_AT, LAYERS, LENGTH, PAPER_RATE, bench_on

SHIM = Path(__file__).parent / "official_code.py"
WEIGHTS = "weights.npz"
NEVER = 1_000_000
"""Steps between evaluations, and between checkpoints."""


def main(
    code: Annotated[Path, typer.Option(help="A checkout of the official repository.")],
    packages: Annotated[Path | None, typer.Option(help="Folder of its packages, to be found first.")] = None,
    python: Annotated[Path, typer.Option(help="Its interpreter.")] = Path(sys.executable),
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    steps: Annotated[int, typer.Option(min=21)] = 60,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure the official code beside its port and write results/official.json."""
    pin_to_cores(threads)
    model = fine_tuned(Task.SST2, shared, cache)
    corpus = read_corpus(Task.SST2, shared).with_train_rows(steps * BATCH)
    with (
        record("official", "sst2", "The official code and its port, Theseus on SST-2", results) as draft,
        tempfile.TemporaryDirectory() as name,
        bench_on(corpus, model, steps, threads) as bench,
    ):
        folder = Path(name)
        corpus.write(folder / "rows")
        (folder / "rows" / "validation.tsv").rename(folder / "rows" / "dev.tsv")
        write_as_of_2020(model, folder / "model")
        port = bench.paper(PAPER_RATE, "max")
        pairs: list[tuple[Row, Row]] = []
        for seed in range(rounds):
            theirs = run_official(folder, code, packages, python, steps, seed, threads)
            run = port.run(seed)
            ours: Row = {
                "code": port.name,
                "steps": steps,
                "examples/s": run.examples_per_second,
                "training CPU s": run.training_cpu_seconds,
                "peak MiB": round(run.peak_rss_bytes / 2**20),
                "accuracy": run.after,
            }
            pairs.append((theirs, ours))
        draft.rows += [row for pair in pairs for row in pair]
        speedup = median(number(ours, "examples/s") / number(theirs, "examples/s") for theirs, ours in pairs)
        gain = mean(number(ours, "accuracy") - number(theirs, "accuracy") for theirs, ours in pairs)
        draft.notes.append(
            f"The port makes {speedup:.2f} times the examples per second of the official code; accuracy {gain:+.4f}."
        )


def number(row: Row, column: str) -> float:
    return float(row[column] or 0)


def write_as_of_2020(model: Path, folder: Path) -> None:
    """A checkpoint in the form that transformers 2.4.0 reads, but for its weights, which `official_code` puts there."""
    folder.mkdir()
    weights: dict[str, Any] = load_file(model / "model.safetensors")
    np.savez(folder / WEIGHTS, **{name: array.astype(np.float32) for name, array in weights.items()})
    vocabulary = json.loads((model / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    pieces = sorted(vocabulary, key=lambda piece: int(vocabulary[piece]))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    shutil.copyfile(model / "config.json", folder / "config.json")


def run_official(
    folder: Path, code: Path, packages: Path | None, python: Path, steps: int, seed: int, threads: int
) -> Row:
    options = {
        "data_dir": folder / "rows",
        "model_name_or_path": folder / "model",
        "output_dir": folder / f"out{seed}",
        "task_name": "SST-2",
        "replacing_rate": BASE_RATE,
        "scheduler_type": "linear",
        "scheduler_linear_k": (1 - BASE_RATE) / (FULL_AT * steps),
        "max_seq_length": LENGTH,
        "per_gpu_train_batch_size": BATCH,
        "per_gpu_eval_batch_size": BATCH,
        "learning_rate": PAPER_RATE,
        "max_steps": steps,
        "seed": seed,
        "logging_steps": NEVER,
        "save_steps": NEVER,
    }
    named = [f"--{name}={value}" for name, value in options.items()]
    finished = process.run(
        [
            code.resolve(),
            str(LAYERS),
            folder / "model" / WEIGHTS,
            *named,
            "--do_train",
            "--do_eval",
            "--do_lower_case",
            "--no_cuda",
            # It cannot read its own cache of rows with today's torch.
            "--overwrite_cache",
        ],
        threads=threads,
        log=folder / "log",
        python=(python, SHIM),
        environment={"PYTHONPATH": str(packages.resolve()) if packages else ""},
    )
    found = json.loads(finished.lines[-1].text)
    return {
        "code": f"official code, torch {found['torch']}, transformers {found['transformers']}",
        "steps": found["steps"],
        "examples/s": BATCH * found["steps"] / found["training_wall_seconds"],
        "training CPU s": found["training_cpu_seconds"],
        "peak MiB": round(finished.peak_rss_bytes / 2**20),
        "accuracy": found["after"],
    }


if __name__ == "__main__":
    typer.run(main)
