"""The engine's command line, and the very process that a worker starts for each attempt.

    python -m compression run SPEC.json --out DIR
    python -m compression wait
    python -m compression compress --model DIR --train FILE --validation FILE --recipe RECIPE.json --out DIR
    python -m compression verify DIR
    python -m compression methods

Standard output carries events as JSON lines, standard error the log. Exit codes: 0 done, 65 the input is at fault,
75 stopped on request with a checkpoint left behind, 1 anything else.
"""

import argparse
import gc
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, get_args

from compression.errors import ComputeError, InputError, Problem, ReasonClass, Stopped
from compression.events import EventWriter, FailedEvent, ReadyEvent
from compression.registry import METHODS
from compression.spec import Recipe, RunSpec, Runtime, resolve

EXIT_INPUT = 65
EXIT_STOPPED = 75


class _NamedRecipe(Recipe):
    """What of a job can be said without a server."""

    name: str | None = None


def main(arguments: list[str] | None = None) -> int:
    # Read when torch is loaded. Threads that spin long while they wait make a busy machine three times slower; threads
    # that never spin are woken by the system hundreds of times a step.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    options = _parse(arguments)
    if options.command == "methods":
        print(json.dumps({name: params.model_json_schema() for name, params in METHODS.items()}))
        return 0
    emit = _claim_standard_output()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        match options.command:
            case "run":
                _run(options.spec, options.out, emit, stop)
            case "wait":
                _wait(emit, stop)
            case "compress":
                _compress(options, emit, stop)
            case "verify":
                _verify(options.folder, emit)
    except BaseException as error:  # the last line of defence: a Rust panic in a tokenizer is no Exception
        return _failed(error, emit)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compression", description="Compress fine-tuned BERT models."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a spec that a worker has written")
    run.add_argument("spec", type=Path)
    run.add_argument("--out", type=Path, required=True)
    commands.add_parser(
        "wait", help="import everything, then run the spec named by one line on standard input"
    )
    compress = commands.add_parser(
        "compress", help="compress a checkpoint folder with data files, without a server"
    )
    compress.add_argument("--model", type=Path, required=True)
    compress.add_argument("--train", type=Path, required=True)
    compress.add_argument("--validation", type=Path)
    compress.add_argument("--test", type=Path)
    compress.add_argument(
        "--recipe", type=Path, required=True, help="JSON file with the recipe of a job and its name"
    )
    compress.add_argument("--out", type=Path, required=True)
    verify = commands.add_parser("verify", help="check the sums of a result and evaluate it again")
    verify.add_argument("folder", type=Path)
    commands.add_parser("methods", help="print the JSON schema of every method's settings")
    return parser.parse_args(arguments)


def _claim_standard_output() -> EventWriter:
    """Keep standard output for events: whatever a library prints goes to the log instead."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return EventWriter(events)


def _run(spec: Path, out: Path, emit: EventWriter, stop: threading.Event) -> None:
    told = RunSpec.model_validate_json(spec.read_bytes())
    out.mkdir(parents=True, exist_ok=True)
    _engine()(told, out, emit, stop.is_set)


def _wait(emit: EventWriter, stop: threading.Event) -> None:
    """Pay for the imports ahead of the job."""
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen_to_parent, args=(orders,), daemon=True).start()
    _engine(whole=True)
    emit(ReadyEvent())
    order = json.loads(orders.get())
    _run(Path(order["spec"]), Path(order["out"]), emit, stop)


def _listen_to_parent(orders: "queue.Queue[str]") -> NoReturn:
    """The end of standard input is the end of the parent, and of this process, also in the middle of the imports."""
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    orders.put(line)
    sys.stdin.read()
    os._exit(1)


def _compress(options: argparse.Namespace, emit: EventWriter, stop: threading.Event) -> None:
    from compression.checkpoints.inspection import inspect_checkpoint
    from compression.data.ingest import ingest_dataset
    from compression.data.summary import SplitName

    facts = inspect_checkpoint(options.model)
    files = {name: path for name in get_args(SplitName) if (path := getattr(options, name))}
    dataset = options.out / "dataset"
    dataset.mkdir(parents=True)
    summary = ingest_dataset(files, dataset, None, 0)
    recipe = _NamedRecipe.model_validate_json(options.recipe.read_bytes())
    others = {name: Path(name) for name in recipe.other_models.values() if Path(name).is_dir()}
    known = {name: inspect_checkpoint(path) for name, path in others.items()}
    named = [name for name in dict.fromkeys(recipe.other_datasets.values()) if Path(name).exists()]
    corpora = {name: options.out / f"corpus-{number}" for number, name in enumerate(named)}
    texts = {name: ingest_dataset({"train": Path(name)}, at, None, 0) for name, at in corpora.items()}
    plan = resolve(recipe, facts, summary, known, texts)
    runtime = Runtime(job_name=recipe.name or "")
    spec = RunSpec(
        model=options.model, dataset=dataset, plan=plan, models=others, datasets=corpora, runtime=runtime
    )
    _engine()(spec, options.out, emit, stop.is_set)


def _engine(*, whole: bool = False) -> Callable[[RunSpec, Path, EventWriter, Callable[[], bool]], object]:
    """The engine's `run`; the `whole` engine also has what jobs import by name.

    Its import takes seconds, which a spec at fault need not wait for. What it leaves in memory stays to the end:
    looking through it for garbage took a fifth of an export.
    """
    from compression.run import run

    if whole:
        from compression.preload import preload

        preload()
    gc.freeze()
    return run


def _verify(folder: Path, emit: EventWriter) -> None:
    from compression.export.sums import check_sums

    check_sums(folder)

    from compression.export.verify import verify  # seconds, which a damaged file need not wait for

    emit(verify(folder))


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join(f"/{part}" for part in location)


def _failed(error: BaseException, emit: EventWriter) -> int:
    """Say why in words a user can act on, and choose the exit code."""
    from pydantic import ValidationError

    logging.getLogger(__name__).error("failed", exc_info=error)
    match error:
        case Stopped():
            return EXIT_STOPPED
        case InputError():
            failed = FailedEvent(code=error.code, reason_class=ReasonClass.USER, message=str(error))
        case ValidationError():
            faults = [
                Problem(fault["type"], fault["msg"].removeprefix("Value error, "), _pointer(fault["loc"]))
                for fault in error.errors(include_url=False)
            ]
            message = str(InputError(faults))
            failed = FailedEvent(code="invalid_spec", reason_class=ReasonClass.USER, message=message)
        case ComputeError():
            failed = FailedEvent(code=error.code, reason_class=error.reason_class, message=str(error))
        case _ if _is_out_of_memory(error):
            message = f"memory ran out: use a smaller batch_size or max_length ({error})"
            failed = FailedEvent(code="out_of_memory", reason_class=ReasonClass.CAPACITY, message=message)
        case _ if _is_of_the_disk(error):
            message = (
                f"a file could not be read or written: look after the worker's disk, then retry ({error})"
            )
            failed = FailedEvent(code="storage_error", reason_class=ReasonClass.CAPACITY, message=message)
        case _:
            message = f"{type(error).__name__}: {error}"
            failed = FailedEvent(code="internal_error", reason_class=ReasonClass.INTERNAL, message=message)
    emit(failed)
    return EXIT_INPUT if failed.reason_class is ReasonClass.USER else 1


def _is_out_of_memory(error: BaseException) -> bool:
    """torch has a type for the GPU's memory only; for the CPU's it raises a RuntimeError with these words."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _is_of_the_disk(error: BaseException) -> bool:
    """safetensors has an exception of its own, which says in words that a file could not be written."""
    return isinstance(error, OSError) or (
        type(error).__name__ == "SafetensorError" and "I/O error" in str(error)
    )


if __name__ == "__main__":
    # A thread that waits in a read must not hold up the end: leave without joining anything.
    code = main()
    sys.stderr.flush()
    os._exit(code)
