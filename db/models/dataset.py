from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Json


class Dataset(Base):
    """Named splits of rows; its files lie at `datasets/{id}/`."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    summary: Mapped[Json]
    """`compression.data.summary.DatasetSummary`."""
    created_at: Mapped[datetime]
