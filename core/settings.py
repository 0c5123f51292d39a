"""Settings from the environment (`PLANKWRIGHT_…`), read once at the edge of a process and passed inward."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Queue = Literal["cpu", "gpu"]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="PLANKWRIGHT_", frozen=True, use_attribute_docstrings=True, env_ignore_empty=True
    )

    data: Path = Path(".plankwright")
    """Folder of everything that is kept: stored files, logs, scratch space and, without Postgres, the database."""
    database: SecretStr | None = None
    """URL of a PostgreSQL database; SQLite in the data folder by default."""
    redis: SecretStr | None = None
    """URL of the broker that wakes workers; without one, local workers poll the database."""
    queue: Queue = "cpu"
    """The queue that a worker serves."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of a compression process; all cores by default."""
    heartbeat: Path | None = None
    """File that a worker woken by Redis, or a sweeper, touches while it reaches the database; for health checks."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    lease_seconds: float = Field(default=60, gt=0)
    """A worker that has not renewed its lease for so long is lost."""
    renew_seconds: float = Field(default=10, gt=0)
    cancel_grace_seconds: float = Field(default=2.5, gt=0)
    """From SIGTERM to SIGKILL when a user cancels."""
    drain_grace_seconds: float = Field(default=60, gt=0)
    """The same when the worker is asked to stop: time to finish a training step and write a checkpoint."""
    stalled_seconds: float = Field(default=600, gt=0)
    """A compression process that has said nothing for so long is stalled."""
    checkpoint_seconds: float = Field(default=60, gt=0)
    sweep_seconds: float = Field(default=15, gt=0)
    """Pause between two sweeps; queued jobs whose last hint is older than twice that are hinted again."""
    max_upload_bytes: int = Field(default=20 * 2**30, gt=0)
    """Of one upload, and of what an uploaded archive unpacks to."""
    poll_seconds: float = Field(default=0.5, gt=0)
    """Pause between two looks of a local worker at an empty queue."""

    @property
    def database_url(self) -> str:
        if self.database:
            return self.database.get_secret_value()
        return f"sqlite:///{self.data.absolute() / 'plankwright.db'}"

    def beat(self) -> None:
        if self.heartbeat:
            self.heartbeat.touch()

    @property
    def redis_url(self) -> str | None:
        return self.redis.get_secret_value() if self.redis else None

    @property
    def storage(self) -> Path:
        """Folder of the object storage."""
        return self.data / "storage"
