"""What a job costs beside its training and its measurements, on the embedded server.

    python -m benchmarks.job_overhead [--jobs 3]

Each job is small and runs on an idle worker, with the disk cache warm after the first. When a worker claimed a job and
when it had succeeded is what the job's events say; what happened in between, what the engine wrote to the job's log.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.data import CACHE, SHARED, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.results import RESULTS, ResultsOption, Row, Target, record
from plankwright.client import Plankwright

STEPS = 60
ROWS = 2000
IDLE_SECONDS = 15
"""After these a worker has its next process started and imported."""
SECONDS = 6
START_SECONDS = 3
"""From the claim of a warm job until it trains, the original's evaluation and all."""
LOGGED = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (phase|progress|metric) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Moments:
    """Seconds since the epoch."""

    claimed: float
    succeeded: float
    phases: list[tuple[str, float]]
    """Each with its begin, in order."""
    first_step: float
    last_step: float
    validated: float
    """After the last step."""

    def row(self, name: str) -> Row:
        """Overhead is what neither trains nor measures a model."""
        training = self.last_step - self.first_step
        validation = self.validated - self.last_step
        ends = [begin for _, begin in self.phases[1:]] + [self.succeeded]
        spans = [(phase, end - begin) for (phase, begin), end in zip(self.phases, ends, strict=True)]
        baseline = sum(span for phase, span in spans if phase == "baseline")
        after = validation + sum(span for phase, span in spans if phase in ("evaluate", "benchmark"))
        start = self.first_step - self.claimed - baseline
        end = self.succeeded - self.last_step - after
        return {
            "job": name,
            "claim to first step, s": round(start, 2),
            "with the original measured, s": round(start + baseline, 2),
            "last step to succeeded, s": round(end, 2),
            "overhead, s": round(start + end, 2),
            "training, s": round(training, 2),
            "evaluation, s": round(baseline + after, 2),
        }


def main(
    jobs: Annotated[int, typer.Option(min=2)] = 4,
    shared: SharedOption = SHARED,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure the overhead of jobs on the embedded server and write results/job_overhead.json."""
    with (
        record("job_overhead", "embedded", "Overhead of a job, embedded server", results) as draft,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        read_corpus(Task.SST2, shared).with_train_rows(ROWS).write(folder)
        with served(folder / "data") as service:
            model = service.models.upload(fine_tuned(Task.SST2, shared, CACHE))
            dataset = service.datasets.upload(folder / "train.tsv", folder / "validation.tsv")
            for number in range(jobs):
                time.sleep(IDLE_SECONDS)
                job = submit(service, model.id, dataset.id)
                draft.rows.append(_moments(service, job).row("warm" if number else "first"))
            _, behind = (submit(service, model.id, dataset.id) for _ in range(2))
            draft.rows.append(_moments(service, behind).row("queued behind another"))
        for kind in ("warm", "queued behind another"):
            seconds = median(float(row["overhead, s"] or 0) for row in draft.rows if row["job"] == kind)
            what = f"overhead of a job, {kind}, median"
            draft.targets.append(Target(what=what, measured=seconds, at_most=SECONDS, unit="s"))
        starts = [row["with the original measured, s"] for row in draft.rows if row["job"] == "warm"]
        what = "a second job on the same model and rows trains after its claim, median"
        first_step = median(float(start or 0) for start in starts)
        draft.targets.append(Target(what=what, measured=first_step, at_most=START_SECONDS, unit="s"))


@contextmanager
def served(data: Path) -> Iterator[Plankwright]:
    """An embedded server on a folder of its own, asked to stop at the end."""
    command = [sys.executable, "-m", "plankwright", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            ready = server.stdout.readline().split()
            if not ready:
                raise SystemExit("the embedded server did not start")
            with Plankwright(ready[1], (data / "api-key").read_text().strip()) as service:
                yield service
        finally:
            server.terminate()


def submit(service: Plankwright, model: str, dataset: str, steps: int = STEPS) -> str:
    """Ask for a small job of Theseus; its id."""
    training = {"epochs": 100, "max_steps": steps, "evaluations_per_epoch": 1}
    step = {"method": "theseus", "successor_layers": 3, "training": training}
    return service.jobs.create(model, dataset, [step]).id


def _moments(service: Plankwright, id: str) -> Moments:
    """Those of a job, once it has ended."""
    job = service.jobs.wait(id)
    if job.state != "succeeded":
        raise SystemExit(f"the job ended as {job.state}: {job.reason}")
    events = {event.type: event.time.timestamp() for event in service.jobs.events(id)}
    return read_moments(service.jobs.logs(id), events["claimed"], events["succeeded"])


def read_moments(log: str, claimed: float, succeeded: float) -> Moments:
    """When what happened, by the log of an engine on this machine."""
    lines = [(seconds_of(stamp), kind, words) for stamp, kind, words in LOGGED.findall(log)]
    phases = [(words.removeprefix("phase="), at) for at, kind, words in lines if kind == "phase"]
    steps = [(at, words) for at, kind, words in lines if kind == "progress"]
    final = next(at for at, words in steps if re.match(r"step=(\d+) total=\1\b", words))
    validations = [at for at, kind, words in lines if kind == "metric" and words.startswith("eval.")]
    return Moments(claimed, succeeded, phases, steps[0][0], final, validations[-1])


def seconds_of(stamp: str) -> float:
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


if __name__ == "__main__":
    typer.run(main)
