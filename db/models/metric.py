from sqlalchemy import Double, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base


class Metric(Base):
    """One point of one curve. A step repeated by a later attempt replaces the point."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float] = mapped_column(Double)
