"""What it costs that every job can stop at any moment and go on elsewhere.

    python -m benchmarks.resume [--only checkpoints] [--rounds 3] [--steps 600] [--every 1.0]

`checkpoints` trains Theseus on SST-2 with checkpoints and without, in fresh processes by turns: what they add, over
their number, is the price of one. `restart` stops an embedded server in the middle of a job's training and starts it
again: the job goes on from its last checkpoint in a new process of a new worker.
"""

import re
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.job_overhead import LOGGED, seconds_of, served, submit
from benchmarks.process import Finished, pin_to_cores
from benchmarks.results import RESULTS, Draft, ResultsOption, Row, Target, record
from benchmarks.runs import Material, compress, training_moments
from compression.events import CheckpointEvent, parse_event

SHARE = 0.02
"""Of training time, at the most, for a checkpoint a minute."""
BATCH = 32
ROWS = 2000
NEVER = 3600.0
ATTEMPT = re.compile(r"^--- attempt \d+ on .* ---$", re.MULTILINE)
STEP = re.compile(r" (?:progress step=|checkpoint name=\d+-)(\d+)")


class PartName(StrEnum):
    CHECKPOINTS = "checkpoints"
    RESTART = "restart"


def main(
    only: Annotated[list[PartName], typer.Option(help="Parts to measure.")] = list(PartName),  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=20, help="Training steps of each run.")] = 600,
    every: Annotated[float, typer.Option(help="Seconds between checkpoints, where there are any.")] = 1.0,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure what checkpoints and interruptions cost and write results/resume.json."""
    pin_to_cores(threads)
    corpus, model = read_corpus(Task.SST2, shared), fine_tuned(Task.SST2, shared, cache)
    if PartName.CHECKPOINTS in only:
        with (
            record("resume", "checkpoints", "What checkpoints cost, Theseus on SST-2", results) as draft,
            tempfile.TemporaryDirectory() as name,
        ):
            corpus.with_train_rows(min(steps * BATCH, len(corpus.train))).write(Path(name))
            compare(Material.prepare(model, Path(name)), rounds, steps, every, threads, draft)
    if PartName.RESTART in only:
        with (
            record("resume", "restart", "A job whose server stops and starts again", results) as draft,
            tempfile.TemporaryDirectory() as name,
        ):
            corpus.with_train_rows(ROWS).write(Path(name))
            draft.rows += [restart(model, Path(name), Path(name) / f"{i}", steps) for i in range(rounds)]


def compare(material: Material, rounds: int, steps: int, every: float, threads: int, draft: Draft) -> None:
    """Every run's end has a checkpoint in any case: it counts on both sides."""
    training = {"batch_size": BATCH, "epochs": 100, "max_steps": steps, "evaluations_per_epoch": 1}
    step = {"method": "theseus", "successor_layers": 3, "training": training}
    prices = list[float]()
    for seed in range(rounds):
        pair: dict[float, tuple[float, int]] = {}
        for interval in (NEVER, every):
            with tempfile.TemporaryDirectory() as folder:
                done = compress(
                    material,
                    [step],
                    Path(folder) / "out",
                    seed=seed,
                    threads=threads,
                    checkpoint_seconds=interval,
                )
            row = training_row(done.finished, None if interval == NEVER else interval)
            draft.rows.append(row)
            print(row, file=sys.stderr)
            pair[interval] = float(row["training, s"] or 0), int(row["checkpoints"] or 0)
        (plain, fewer), (saving, more) = pair[NEVER], pair[every]
        prices.append((saving - plain) / max(1, more - fewer))
    price = median(prices)
    draft.targets.append(
        Target(what="share of training time, a checkpoint a minute", measured=price / 60, at_most=SHARE)
    )
    draft.notes.append(
        f"A checkpoint takes {price:.3f} s, by rounds {' '.join(f'{each:.3f}' for each in prices)}. What a crash loses "
        "beside is the training since the last one, half a minute on average; a stop that is asked for loses nothing."
    )


def training_row(finished: Finished, interval: float | None) -> Row:
    begin, _, end = training_moments(finished.lines)
    written = [
        event for line in finished.lines if isinstance(event := parse_event(line.text), CheckpointEvent)
    ]
    return {
        "seconds between checkpoints": interval,
        "training, s": round(end.line.wall - begin.line.wall, 2),
        "training CPU s": round(end.line.cpu - begin.line.cpu, 2),
        "checkpoints": len(written),
        "MiB each": round(max(event.bytes for event in written) / 2**20),
    }


def restart(model: Path, rows: Path, data: Path, steps: int) -> Row:
    """Stop the server once a job has made a third of its steps, and let a new one finish it."""
    with served(data) as service:
        uploaded = service.models.upload(model)
        dataset = service.datasets.upload(rows / "train.tsv", rows / "validation.tsv")
        job = submit(service, uploaded.id, dataset.id, steps)
        while steps_done(service.jobs.logs(job)) < steps / 3:
            time.sleep(0.2)
        stopping = time.monotonic()
    stopped = time.monotonic() - stopping
    with served(data) as service:
        ended = service.jobs.wait(job)
        if ended.state != "succeeded":
            raise SystemExit(f"the job ended as {ended.state}: {ended.reason}")
        claims = [event.time.timestamp() for event in service.jobs.events(job) if event.type == "claimed"]
        before, after = ATTEMPT.split(service.jobs.logs(job))[1:]
    return {
        "steps before": steps_done(before),
        "of": steps,
        "asked to stop until stopped, s": round(stopped, 2),
        **resumption(after, claims[1]),
    }


def steps_done(log: str) -> int:
    """Training steps of an attempt, by the checkpoints and the progress that its log tells of."""
    return max((int(step) for step in STEP.findall(log)), default=0)


def resumption(log: str, claimed: float) -> Row:
    """How long the second attempt took to train again, by its log."""
    lines = [(seconds_of(stamp), kind, words) for stamp, kind, words in LOGGED.findall(log)]
    begins = {words.removeprefix("phase="): at for at, kind, words in reversed(lines) if kind == "phase"}
    first_step = next(at for at, kind, _ in lines if kind == "progress")
    return {
        "claim to next step, s": round(first_step - claimed, 2),
        "of it the original's evaluation, s": round(begins["compress"] - begins["baseline"], 2),
    }


if __name__ == "__main__":
    typer.run(main)
