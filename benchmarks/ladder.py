"""Rung by rung from the paper's recipe to the engine's: what each leaves out, and what that is worth.

    python -m benchmarks.ladder [--only full_length] [--seeds 3] [--steps 240]

All rungs run in fresh processes by turns on the same cores, as in `benchmarks.theseus`, at the paper's learning rate.
"""

from collections.abc import Callable
from enum import StrEnum
from statistics import median
from typing import Annotated

import typer
from tokenizers import Tokenizer

from benchmarks.data import CACHE, SHARED, CacheOption, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, Draft, ResultsOption, record
from benchmarks.runs import Figures
from benchmarks.theseus import BATCH, LENGTH, PAPER_RATE, Arm, Bench, bench_on, take_turns


class Rows(StrEnum):
    SST2 = "sst2"
    FULL_LENGTH = "full_length"


TITLES = {
    Rows.SST2: "Speed ladder, Theseus on SST-2, 6 to 3 layers",
    Rows.FULL_LENGTH: f"Speed ladder, every row {LENGTH} word pieces long",
}
RUNGS: dict[Rows, tuple[Callable[[Bench], Arm], ...]] = {
    Rows.SST2: (
        lambda bench: bench.paper(PAPER_RATE, "max"),
        lambda bench: bench.paper(PAPER_RATE, "longest"),
        lambda bench: bench.engine(PAPER_RATE, "paper"),
        lambda bench: bench.engine(PAPER_RATE, "fast"),
    ),
    # Nothing is padded here, however it is done.
    Rows.FULL_LENGTH: (
        lambda bench: bench.paper(PAPER_RATE, "max"),
        lambda bench: bench.engine(PAPER_RATE, "paper"),
        lambda bench: bench.engine(PAPER_RATE, "fast"),
    ),
}


def main(
    only: Annotated[list[Rows], typer.Option(help="Rows to train on.")] = list(Rows),  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    steps: Annotated[int, typer.Option(min=21)] = 240,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure the rungs between the paper's recipe and the engine and write results/ladder.json."""
    pin_to_cores(threads)
    sst2, model = read_corpus(Task.SST2, shared), fine_tuned(Task.SST2, shared, cache)
    for rows in only:
        corpus = sst2
        if rows is Rows.FULL_LENGTH:
            corpus = sst2.filling(Tokenizer.from_file(str(model / "tokenizer.json")), LENGTH)
        with (
            record("ladder", rows, TITLES[rows], results) as draft,
            bench_on(corpus.with_train_rows(steps * BATCH), model, steps, threads) as bench,
        ):
            climb([rung(bench) for rung in RUNGS[rows]], seeds, draft)
            draft.notes.append(f"{seeds} seeds, {steps} steps of {BATCH} rows.")


def climb(arms: list[Arm], seeds: int, draft: Draft) -> None:
    """A row for each rung, and how many times it beats the lowest, and the one below it."""
    runs = take_turns(arms, seeds, draft)
    for place, (row, done) in enumerate(zip(draft.rows, runs, strict=True)):
        row["times the first"] = times(done, runs[0])
        row["times the one above"] = times(done, runs[max(0, place - 1)])


def times(runs: list[Figures], others: list[Figures]) -> float:
    """How many times as fast, the median of the seeds."""
    pairs = zip(runs, others, strict=True)
    return median(run.examples_per_second / other.examples_per_second for run, other in pairs)


if __name__ == "__main__":
    typer.run(main)
