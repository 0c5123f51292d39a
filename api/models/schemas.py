"""What the API says of models."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.names import EXAMPLE_HEX
from api.pages import Page
from compression.checkpoints.facts import ModelFacts


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class ModelFile(_View):
    name: str = Field(examples=["model.safetensors"])
    size: int
    sha256: str


class Model(_View):
    """A checkpoint, uploaded or made by a job."""

    id: str = Field(examples=[f"mdl_{EXAMPLE_HEX}"])
    name: str = Field(examples=["sst2-minilm"])
    source_job: str | None = Field(validation_alias="source_job_id")
    """The job whose result it is."""
    facts: ModelFacts
    """What the inspection found: architecture, task, labels, layers, sizes."""
    bytes: int
    """Of all files."""
    sha256: str
    """Of the sorted lines `sha256  name` of its files."""
    files: list[ModelFile]
    created_at: datetime


class ModelPage(Page[Model]):
    """Models, newest first."""
