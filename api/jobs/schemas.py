"""What the API takes and says about jobs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from api.names import DATASET_ID_PATTERN, EXAMPLE_HEX, MODEL_ID_PATTERN, Name
from api.pages import Page
from compression.spec import Plan, Recipe
from core.settings import Queue
from db.models import TERMINAL_STATES, JobState
from db.models.event import EventType


class JobRequest(Recipe):
    """A job: one model, one dataset, one recipe. Only `model`, `dataset` and `steps` are required."""

    name: Name | None = None
    """By default the name of the model and the methods."""
    model: Annotated[str, Field(pattern=MODEL_ID_PATTERN)]
    dataset: Annotated[str, Field(pattern=DATASET_ID_PATTERN)]
    queue: Queue = "cpu"
    """Which workers may take it."""
    auto_start: bool = True
    """False to hold the job until it is started."""

    def recipe(self) -> Recipe:
        """The part that the engine knows."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})


class RetryRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    source: Literal["checkpoint", "scratch"] = Field("checkpoint", alias="from")
    """Go on from the last checkpoint, where there is one, or forget what was done."""


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class Progress(_View):
    """Training steps of the whole recipe."""

    step: int
    total: int
    fraction: float = Field(examples=[0.42])
    eta_seconds: float | None


class Reason(_View):
    """Why a job failed, and who can do something about it."""

    code: str = Field(examples=["worker_lost_repeatedly"])
    reason_class: Literal["user", "capacity", "internal"] = Field(alias="class")
    message: str


class Result(_View):
    """The metric on the evaluation split, before and after."""

    metric: str = Field(examples=["accuracy"])
    before: float
    after: float
    retention: float | None
    """After over before; null where the metric before is not positive."""


class JobSummary(_View):
    """A job, without its plan."""

    id: str = Field(examples=[f"job_{EXAMPLE_HEX}"])
    name: str
    state: JobState
    phase: str | None = Field(examples=["compress"])
    progress: Progress | None
    attempt: int
    """Runs so far; more than one where a worker was lost or the job was retried."""
    queue: str
    model: str = Field(validation_alias="model_id", examples=[f"mdl_{EXAMPLE_HEX}"])
    dataset: str = Field(validation_alias="dataset_id", examples=[f"ds_{EXAMPLE_HEX}"])
    result_model: str | None = Field(validation_alias="result_model_id")
    """The compressed model, which can be compressed again."""
    verdict: Literal["met", "not_met"] | None
    """Whether the constraints were met."""
    result: Result | None
    reason: Reason | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @computed_field
    def terminal(self) -> bool:
        """It has ended; only a retry changes it again."""
        return self.state in TERMINAL_STATES


class Job(JobSummary):
    plan: Plan
    """The recipe with nothing left to guess."""


class JobPage(Page[JobSummary]):
    """Jobs, newest first."""


class Event(_View):
    """Something that happened to a job."""

    id: int
    """1, 2, 3, … within the job."""
    type: EventType
    time: datetime
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, Any]


class EventList(BaseModel):
    """Events, oldest first."""

    data: list[Event]
    has_more: bool = Field(examples=[True])
    last_id: int = Field(description="For `after` of the next request", examples=[17])


class Series(BaseModel):
    """One curve."""

    name: str = Field(examples=["loss"])
    steps: list[int]
    values: list[float | None] = Field(description="Null where the value is not a finite number")


class SeriesList(BaseModel):
    data: list[Series]


class StepEstimate(BaseModel):
    """What one step of a recipe will do, as far as it can be told beforehand."""

    method: str
    layers_before: int
    layers_after: int
    training_steps: int


class Estimate(BaseModel):
    """What a job will take: a guess, for an order of magnitude."""

    steps: list[StepEstimate]
    training_steps: int
    seconds: float
    memory_bytes: int
    assumptions: list[str]


class DryRun(BaseModel):
    """A job that was checked but not created."""

    plan: Plan
    estimate: Estimate
