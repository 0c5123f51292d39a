"""The engine as the process that a worker starts: events, signals, exit codes."""

import io
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from compression.__main__ import _failed
from compression.events import (
    CheckpointEvent,
    Event,
    EventWriter,
    FailedEvent,
    PhaseEvent,
    ReadyEvent,
    ResultEvent,
    parse_event,
)
from compression.spec import RunSpec
from core.digests import describe_file
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec, run_to_end, weights_of

ENGINE = [sys.executable, "-m", "compression"]
ENDLESS = {"method": "theseus", "successor_layers": 2, "training": {"epochs": 100, "batch_size": 1}}
SHORT = {"method": "layer_drop", "keep_layers": 2, "recovery": {"max_steps": 2}}


def write_spec(folder: Path, spec: RunSpec) -> Path:
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    return path


def engine(*arguments: str | Path) -> tuple[int, list[Event]]:
    done = subprocess.run(
        [*ENGINE, *map(str, arguments)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120
    )
    return done.returncode, [parse_event(line) for line in done.stdout.splitlines()]


@contextmanager
def waiting_engine() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*ENGINE, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert isinstance(parse_event(process.stdout.readline()), ReadyEvent)
            yield process
        finally:
            process.kill()


def order(process: subprocess.Popen[bytes], spec: Path, out: Path) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"spec": str(spec), "out": str(out)}).encode() + b"\n")
    process.stdin.flush()


def wait_for_training(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if parse_event(line).type == "progress":
            return
    raise AssertionError("the process ended before it trained")


def test_a_waiting_process_runs_one_spec_and_exits_with_0(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, make_spec(tmp_path, [SHORT]))
    with waiting_engine() as process:
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "sklearn" in loaded, "what a task needs is there before the job"
        order(process, spec, tmp_path / "out")
        assert process.stdout is not None
        events = [parse_event(line) for line in process.stdout]
        assert process.wait(60) == 0
    assert isinstance(events[-1], ResultEvent)
    phases = [event.phase for event in events if isinstance(event, PhaseEvent)]
    assert phases == ["load", "baseline", "compress", "export", "evaluate", "benchmark", "report"]
    assert (tmp_path / "out" / "artifacts" / "SHA256SUMS").exists()


def test_terminating_it_leaves_a_checkpoint_and_exits_with_75(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, make_spec(tmp_path, [ENDLESS]))
    with waiting_engine() as process:
        order(process, spec, tmp_path / "out")
        wait_for_training(process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        events = [parse_event(line) for line in process.stdout]
        assert process.wait(10) == 75
    checkpoint = next(event for event in reversed(events) if isinstance(event, CheckpointEvent))
    assert (tmp_path / "out" / "checkpoints" / checkpoint.file).stat().st_size == checkpoint.bytes


def test_it_ends_when_its_parent_does(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, make_spec(tmp_path, [ENDLESS]))
    with waiting_engine() as process:
        order(process, spec, tmp_path / "out")
        wait_for_training(process)
        assert process.stdin is not None
        process.stdin.close()  # what the end of the parent does
        assert process.wait(5) == 1


def test_it_ends_when_its_parent_does_while_it_imports() -> None:
    command = [sys.executable, "-m", "compression", "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=30)  # closes standard input at once
    assert (process.returncode, said) == (0, b"")  # it never came to the end of its imports


def test_an_input_at_fault_exits_with_65_and_says_why(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [SHORT])
    (spec.model / "tokenizer.json").write_text("{}")
    code, events = engine("run", write_spec(tmp_path, spec), "--out", tmp_path / "out")
    assert code == 65
    failed = events[-1]
    assert isinstance(failed, FailedEvent)
    assert failed.reason_class == "user"
    assert "tokenizer.json" in failed.message


def test_a_spec_that_is_none_exits_with_65(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"model": 3}')
    code, events = engine("run", tmp_path / "spec.json", "--out", tmp_path / "out")
    assert code == 65
    assert isinstance(events[-1], FailedEvent)
    assert events[-1].code == "invalid_spec"
    assert events[-1].message.startswith("/model: Input is not a valid path")
    assert "/plan: Field required" in events[-1].message
    assert "http" not in events[-1].message
    (tmp_path / "spec.json").write_text("none")
    _, events = engine("run", tmp_path / "spec.json", "--out", tmp_path / "out")
    assert isinstance(events[-1], FailedEvent)
    assert events[-1].message.startswith("Invalid JSON")


def test_a_full_or_read_only_disk_is_named_as_such(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, make_spec(tmp_path, [SHORT]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model").write_text("in the way")
    code, events = engine("run", spec, "--out", tmp_path / "out")
    assert code == 1
    assert isinstance(events[-1], FailedEvent)
    assert (events[-1].code, events[-1].reason_class) == ("storage_error", "capacity")


def test_a_disk_that_fills_up_costs_what_was_done_since_the_last_checkpoint(tmp_path: Path) -> None:
    """After some checkpoints no file may have more than 4 kB, which writers see as they would a full disk."""
    step = ENDLESS | {"training": {"epochs": 1, "batch_size": 1}}
    spec = make_spec(tmp_path, [step], runtime={"checkpoint_seconds": 0.01})
    out = tmp_path / "out"
    command = [*ENGINE, "run", str(write_spec(tmp_path, spec)), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        events = list[Event]()
        for line in process.stdout:
            events.append(parse_event(line))
            if events[-1].type == "checkpoint":
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    failed = events[-1]
    assert isinstance(failed, FailedEvent)
    assert (failed.code, failed.reason_class) == ("storage_error", "capacity")
    written = [event for event in events if isinstance(event, CheckpointEvent)]
    files = {file.name: describe_file(file)["sha256"] for file in (out / "checkpoints").iterdir()}
    assert files == {event.file: event.sha256 for event in written[-2:]}

    runtime = spec.runtime.model_copy(update={"resume_from": out / "checkpoints" / written[-1].file})
    run_to_end(spec.model_copy(update={"runtime": runtime}), tmp_path / "resumed")
    run_to_end(spec, tmp_path / "whole")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize(
    "write",
    [lambda file: file.write_bytes(bytes(10**4)), lambda file: save_file({"w": torch.zeros(10**4)}, file)],
)
def test_a_disk_that_is_full_is_a_question_of_capacity(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises((OSError, SafetensorError)) as raised:
            write(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert class_of_failure(raised.value) == ("storage_error", "capacity")


@pytest.mark.parametrize("allocate", [lambda: torch.empty(10**15), lambda: bytearray(10**15)])
def test_memory_that_ran_out_is_a_question_of_capacity(allocate: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert class_of_failure(raised.value) == ("out_of_memory", "capacity")


def class_of_failure(error: BaseException) -> tuple[str, str]:
    events = io.StringIO()
    assert _failed(error, EventWriter(events)) == 1
    failed = parse_event(events.getvalue())
    assert isinstance(failed, FailedEvent)
    return failed.code, failed.reason_class


def test_compress_and_verify_without_any_server(tmp_path: Path) -> None:
    """A recipe that names folders, besides: the student's, and one of texts."""
    spec = make_spec(tmp_path, [SHORT])
    student = make_tiny_checkpoint(tmp_path / "student", layers=1)
    step = {"method": "distill", "student": {"model": str(student)}, "training": {"max_steps": 2}}
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("very very\n")
    trim = {"method": "trim_vocabulary", "keep_share": 0.8, "corpus": str(texts)}
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "Small", "steps": [step, trim]}))
    code, events = engine(
        "compress", "--model", spec.model, "--train", tmp_path / "train.jsonl", "--validation",
        tmp_path / "validation.jsonl", "--recipe", tmp_path / "recipe.json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert (code, events[-1].type) == (0, "result")
    artifacts = tmp_path / "out" / "artifacts"
    assert "very" in (tmp_path / "out" / "model" / "tokenizer.json").read_text()
    manifest = json.loads((artifacts / "manifest.json").read_text())
    assert "train.parquet" in manifest["inputs"]["datasets"][str(texts)]
    assert manifest["job"]["name"] == "Small"
    code, events = engine("verify", artifacts)
    assert (code, events[-1].type) == (0, "verified")

    (artifacts / "report.html").write_text("changed")
    code, events = engine("verify", artifacts)
    assert code == 65
    assert isinstance(events[-1], FailedEvent)
    assert events[-1].code == "sum_differs"


def test_what_libraries_print_does_not_disturb_the_events(tmp_path: Path) -> None:
    program = (
        "import sys, compression.__main__ as m\n"
        "emit = m._claim_standard_output()\n"
        "print('noise'); sys.stdout.flush()\n"
        "emit(m.ReadyEvent())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert [parse_event(line).type for line in done.stdout.splitlines()] == ["ready"]
    assert b"noise" in done.stderr


def test_importing_the_settings_of_every_method_does_not_import_torch() -> None:
    program = (
        "import sys, compression.spec; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
