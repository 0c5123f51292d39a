"""What the service answers with. Fields beyond these are kept as they come, and are there as attributes too."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Resource(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class ModelFacts(Resource):
    """What the inspection of a checkpoint found."""

    architecture: str
    task: str
    labels: list[str]
    layers: int
    parameters: int


class Artifact(Resource):
    name: str
    size: int
    sha256: str


class Model(Resource):
    id: str
    name: str
    facts: ModelFacts
    bytes: int
    files: list[Artifact]
    source_job: str | None
    """The job whose result it is."""
    created_at: datetime


class Dataset(Resource):
    id: str
    name: str
    created_at: datetime


class Progress(Resource):
    step: int
    total: int
    fraction: float
    eta_seconds: float | None


class Reason(Resource):
    """Why a job failed."""

    code: str
    reason_class: str = Field(alias="class")
    """Who can do something about it: user, capacity or internal."""
    message: str


class Result(Resource):
    """The metric before and after."""

    metric: str
    before: float
    after: float
    retention: float | None


class Job(Resource):
    id: str
    name: str
    state: str
    terminal: bool
    """It has ended; only a retry changes it again."""
    phase: str | None
    progress: Progress | None
    attempt: int
    model: str
    dataset: str
    result_model: str | None
    verdict: str | None
    """`met` or `not_met`."""
    result: Result | None
    reason: Reason | None
    created_at: datetime


class Event(Resource):
    id: int
    type: str
    time: datetime
    level: str
    message: str
    data: dict[str, Any]


class Method(Resource):
    name: str
    summary: str
    paper: str
    tasks: list[str]
    architectures: list[str]
    json_schema: dict[str, Any] = Field(alias="schema")
    defaults: dict[str, Any]
    presets: dict[str, Any]
    recommended_preset: str | None


class Page(Resource, Generic[T]):
    data: list[T]
    has_more: bool = False
    next_cursor: str | None = None
