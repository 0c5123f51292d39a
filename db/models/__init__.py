"""One table per file; all of them are known once this package is imported."""

from db.models.api_key import ApiKey
from db.models.artifact import Artifact
from db.models.base import Base
from db.models.checkpoint import Checkpoint
from db.models.dataset import Dataset
from db.models.event import Event, EventType
from db.models.idempotency_key import IdempotencyKey
from db.models.job import ACTIVE_STATES, TERMINAL_STATES, Job, JobState
from db.models.metric import Metric
from db.models.model import Model

__all__ = [
    "ACTIVE_STATES",
    "TERMINAL_STATES",
    "ApiKey",
    "Artifact",
    "Base",
    "Checkpoint",
    "Dataset",
    "Event",
    "EventType",
    "IdempotencyKey",
    "Job",
    "JobState",
    "Metric",
    "Model",
]
