from datetime import datetime
from enum import StrEnum

from sqlalchemy import Enum, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Json


class JobState(StrEnum):
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PAUSING = "pausing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
ACTIVE_STATES = frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.PAUSING})
"""An attempt is at work, under a lease."""


class Job(Base):
    """One model, one dataset, one recipe, one outcome. Only `db.lifecycle` writes here."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "queue", "state", "id"), Index(None, "state", "lease_until"))

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    model_id: Mapped[str] = mapped_column(index=True)
    """No foreign key, nor on `dataset_id` and `result_model_id`: a job outlives what it was made from."""
    dataset_id: Mapped[str] = mapped_column(index=True)
    plan: Mapped[Json]
    """`compression.spec.Plan`."""
    queue: Mapped[str]
    state: Mapped[JobState] = mapped_column(
        Enum(JobState, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states])
    )
    phase: Mapped[str | None]
    progress: Mapped[Json | None]
    """`{step, total, fraction, eta_seconds}`."""
    attempt: Mapped[int] = mapped_column(default=0)
    """The fencing token: who writes for an older attempt writes nothing."""
    lost_workers: Mapped[int] = mapped_column(default=0)
    """In a row, without a checkpoint in between."""
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    hinted_at: Mapped[datetime | None]
    last_event_id: Mapped[int] = mapped_column(default=0)
    reason: Mapped[Json | None]
    """Why it failed: `{code, class, message}`."""
    verdict: Mapped[str | None]
    """`met` or `not_met`."""
    result: Mapped[Json | None]
    """`{metric, before, after, retention}`."""
    result_model_id: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
