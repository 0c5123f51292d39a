from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Json


class Model(Base):
    """A checkpoint, uploaded or made by a job; its files lie at `models/{id}/`."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    source_job_id: Mapped[str | None]
    """The job whose result it is."""
    sha256: Mapped[str]
    """Of the sorted lines `sha256  name` of its files."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[list[Json]]
    """`{name, size, sha256}` each."""
    facts: Mapped[Json]
    """`compression.checkpoints.facts.ModelFacts`."""
    created_at: Mapped[datetime]
