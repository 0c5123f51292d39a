"""What the API says of the files that a job made."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Artifact(BaseModel):
    """A downloadable file of a job; it never changes."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(examples=["model.tar"])
    size: int
    sha256: str
    media_type: str = Field(examples=["application/x-tar"])
    created_at: datetime


class ArtifactList(BaseModel):
    """All files of a job, by name."""

    data: list[Artifact]
