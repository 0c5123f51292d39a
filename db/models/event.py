from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Json


class EventType(StrEnum):
    CREATED = "created"
    QUEUED = "queued"
    CLAIMED = "claimed"
    PHASE = "phase"
    PROGRESS = "progress"
    METRIC = "metric"
    WARNING = "warning"
    CHECKPOINT = "checkpoint"
    REQUEUED = "requeued"
    RETRIED = "retried"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Event(Base):
    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3, ... within the job, in the order of the commits."""
    type: Mapped[str]
    time: Mapped[datetime]
    level: Mapped[str]
    message: Mapped[str]
    data: Mapped[Json]
