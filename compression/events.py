"""What a compression process says on its standard output: one JSON object a line."""

import logging
from enum import StrEnum
from typing import Annotated, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from compression.errors import ReasonClass

log = logging.getLogger(__name__)


class Phase(StrEnum):
    """Where a job is. `fetch` and `publish` are the worker's, the others the engine's."""

    FETCH = "fetch"
    LOAD = "load"
    BASELINE = "baseline"
    COMPRESS = "compress"
    EXPORT = "export"
    EVALUATE = "evaluate"
    BENCHMARK = "benchmark"
    REPORT = "report"
    PUBLISH = "publish"


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReadyEvent(_Event):
    """The process has imported everything and waits for its spec."""

    type: Literal["ready"] = "ready"


class AliveEvent(_Event):
    """Nothing to tell but that the work goes on: long evaluations have no other event."""

    type: Literal["alive"] = "alive"


class PhaseEvent(_Event):
    type: Literal["phase"] = "phase"
    phase: Phase


class ProgressEvent(_Event):
    """Training steps done so far over those of the whole recipe."""

    type: Literal["progress"] = "progress"
    step: int
    total: int
    eta_seconds: float | None = None

    @property
    def fraction(self) -> float:
        return self.step / self.total if self.total else 0.0


class MetricEvent(_Event):
    """Values measured at one training step, e.g. `loss`, `replacing_rate`, `eval.accuracy`."""

    type: Literal["metric"] = "metric"
    step: int
    values: dict[str, float]


class WarningEvent(_Event):
    type: Literal["warning"] = "warning"
    code: str
    message: str


class CheckpointEvent(_Event):
    """A checkpoint that is whole and on disk."""

    type: Literal["checkpoint"] = "checkpoint"
    name: str
    file: str
    """Name of the file in the folder `checkpoints`."""
    sha256: str
    bytes: int


class ResultEvent(_Event):
    """The artifacts are written; the process is about to exit with 0."""

    type: Literal["result"] = "result"
    verdict: Literal["met", "not_met"]
    metric: str
    before: float
    after: float
    retention: float | None


class VerifiedEvent(_Event):
    """A downloaded result is whole and still gives what its report says."""

    type: Literal["verified"] = "verified"
    files: int
    rows: int
    metric: str
    reported: float
    measured: float | None
    """Null where it takes the original to measure it; the answers that are compared are the model's own."""
    largest_difference: float
    """Of any logit from the one that was reported."""


class FailedEvent(_Event):
    type: Literal["failed"] = "failed"
    code: str
    reason_class: ReasonClass
    message: str


Event = Annotated[
    ReadyEvent
    | AliveEvent
    | PhaseEvent
    | ProgressEvent
    | MetricEvent
    | WarningEvent
    | CheckpointEvent
    | ResultEvent
    | VerifiedEvent
    | FailedEvent,
    Field(discriminator="type"),
]

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def parse_event(line: bytes | str) -> Event:
    """Read one line of a compression process.

    Raises:
        pydantic.ValidationError: the line is not an event.
    """
    return _adapter.validate_json(line)


class EventWriter:
    """Writes events as JSON lines, each flushed since a reader waits for it, and as words to the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: _Event) -> None:
        self._stream.write(event.model_dump_json() + "\n")
        self._stream.flush()
        fields = event.model_dump(mode="json", exclude={"type"}, exclude_none=True)
        words = " ".join(f"{name}={value}" for name, value in (fields.pop("values", {}) | fields).items())
        log.info("%s %s", event.model_dump()["type"], words)
