from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Json


class IdempotencyKey(Base):
    """What a POST answered, so that its repetition answers the same."""

    __tablename__ = "idempotency_keys"

    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int | None]
    """Null while the first request is at work."""
    headers: Mapped[Json | None]
    body: Mapped[Json | None]
    created_at: Mapped[datetime]
