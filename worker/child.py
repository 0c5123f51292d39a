"""The compression process: started and imported ahead of its job, in a group of its own, without credentials."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, BinaryIO

import structlog
from pydantic import ValidationError

from compression.events import Event, parse_event
from core.settings import Settings

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "compression", "wait")
INHERITED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
MAX_LOG_BYTES = 16 * 2**20
"""Of one attempt: nobody reads more, and a library that repeats itself must not fill the disk."""


class Child:
    """One process. It ends by itself when its standard input does, and so when this process ends."""

    def __init__(self, settings: Settings, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(settings, folder),
            start_new_session=True,
        )
        self.events: queue.Queue[Event] = queue.Queue()
        """What it says; complete after `close`."""
        self._threads: list[threading.Thread] = []

    @property
    def alive(self) -> bool:
        # Not `poll`, which would free the process id, and with it the name of the group that `close` kills.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def begin(self, spec: Path, out: Path, log_file: BinaryIO) -> None:
        """Hand over the spec, and follow what the process says and logs from now on."""
        for follow, stream, sink in (
            (_follow_events, self._process.stdout, self.events),
            (_follow_log, self._process.stderr, log_file),
        ):
            thread = threading.Thread(target=follow, args=(stream, sink), daemon=True)
            thread.start()
            self._threads.append(thread)
        order = json.dumps({"spec": str(spec), "out": str(out)}) + "\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead already, which its exit code will tell
            self._process.stdin.write(order.encode())
            self._process.stdin.flush()

    def terminate(self) -> None:
        """Ask it to stop after the training step at hand."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and everything it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        """End it and what it may have left behind, and return the exit code (minus the signal)."""
        self.kill()
        code = self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        return code


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """A list of what is allowed: nothing of the worker's own settings, above all no URL with a password."""
    package = find_spec("compression")
    assert package is not None
    assert package.origin is not None
    fixed = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(settings.threads or len(os.sched_getaffinity(0))),
        "PYTHONPATH": str(Path(package.origin).parent.parent),
        "PYTHONSAFEPATH": "1",
    }
    if settings.queue == "cpu":
        fixed["CUDA_VISIBLE_DEVICES"] = ""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | fixed


def _follow_events(stream: IO[bytes], events: "queue.Queue[Event]") -> None:
    for line in stream:
        try:
            events.put(parse_event(line))
        except ValidationError:
            log.warning("not_an_event", line=line[:200])


def _follow_log(stream: IO[bytes], log_file: BinaryIO) -> None:
    """Copy as it comes, so that a log can be read while the job runs."""
    left = MAX_LOG_BYTES
    while chunk := os.read(stream.fileno(), 65536):
        log_file.write(chunk[:left])
        left = max(0, left - len(chunk))


class Nursery:
    """Keeps one child started and imported, so that a job does not pay for the import of torch."""

    def __init__(self, settings: Settings, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._settings = settings
        self._folder = folder
        self._command = command
        self._waiting: Child | None = None

    def prepare(self) -> None:
        if self._waiting is None:
            self._waiting = Child(self._settings, self._folder, self._command)

    def take(self) -> Child:
        """A child for one attempt; a new one where the one that waited has died."""
        child, self._waiting = self._waiting, None
        if child is not None and child.alive:
            return child
        if child is not None:
            child.close()
        return Child(self._settings, self._folder, self._command)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
