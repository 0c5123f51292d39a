"""Watches over one compression process: reads it, and ends it when somebody wants it ended."""

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event as Flag

from compression.events import FailedEvent, Phase, PhaseEvent, ResultEvent
from core.settings import Settings
from db.lifecycle import Order
from worker.child import Child
from worker.lease import Lease
from worker.reports import Reports

TICK_SECONDS = 0.1
RETRY_SECONDS = 1.0


class Stop(Enum):
    """Why the process was made to end."""

    LET_GO = "the job is another attempt's by now"
    CANCEL = "a user cancelled"
    DRAIN = "the worker was asked to stop"
    STALLED = "the process said nothing for too long"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. A negative exit code is the signal that ended it."""

    exit_code: int
    stop: Stop | None = None
    result: ResultEvent | None = None
    failed: FailedEvent | None = None


class Supervisor:
    """`drain` is set when the worker shall stop; `at_training` is called when the process begins to compress."""

    def __init__(
        self,
        child: Child,
        out: Path,
        lease: Lease,
        reports: Reports,
        settings: Settings,
        drain: Flag,
        at_training: Callable[[], None],
    ) -> None:
        self._child = child
        self._out = out
        self._lease = lease
        self._reports = reports
        self._settings = settings
        self._drain = drain
        self._at_training = at_training
        self._heard_at = time.monotonic()
        self._stop: Stop | None = None
        self._kill_at = float("inf")
        self._result: ResultEvent | None = None
        self._failed: FailedEvent | None = None

    def run(self) -> Ended:
        """Follow the process to its end.

        Raises:
            Fenced: the job is no longer this attempt's; the process is killed.
        """
        try:
            while self._child.alive:
                self._listen()
                self._stop_if_wanted()
                self._reports.flush()
        finally:
            exit_code = self._child.close()
        while not self._child.events.empty():
            self._listen()
        while not self._reports.flush(now=True):
            if self._lease.order is Order.LET_GO:
                self._stop = Stop.LET_GO
                break
            time.sleep(RETRY_SECONDS)
        return Ended(exit_code, self._stop, self._result, self._failed)

    def _listen(self) -> None:
        try:
            event = self._child.events.get(timeout=TICK_SECONDS)
        except queue.Empty:
            return
        self._heard_at = time.monotonic()
        if isinstance(event, PhaseEvent) and event.phase is Phase.COMPRESS:
            self._at_training()
        match event:
            case ResultEvent():
                self._result = event
            case FailedEvent():
                self._failed = event
            case _:
                self._reports.take(event, self._out / "checkpoints")

    def _stop_if_wanted(self) -> None:
        """The ladder: ask it to stop, and kill it and all it has started when it takes too long."""
        stop = self._wanted_stop()
        if stop is not None and stop is not self._stop:
            self._stop = stop
            self._kill_at = time.monotonic() + self._grace(stop)
            self._child.terminate()
        if time.monotonic() >= self._kill_at:
            self._child.kill()

    def _wanted_stop(self) -> Stop | None:
        if self._lease.order is Order.LET_GO:
            return Stop.LET_GO
        if self._lease.order is Order.CANCEL:
            return Stop.CANCEL
        if self._drain.is_set():
            return Stop.DRAIN
        silent = time.monotonic() - self._heard_at > self._settings.stalled_seconds
        return Stop.STALLED if silent else None

    def _grace(self, stop: Stop) -> float:
        """Seconds to finish a training step and to write a checkpoint."""
        match stop:
            case Stop.CANCEL:
                return self._settings.cancel_grace_seconds
            case Stop.DRAIN:
                return self._settings.drain_grace_seconds
            case _:
                return 0
