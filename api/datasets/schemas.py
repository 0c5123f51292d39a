"""What the API says of datasets."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.names import EXAMPLE_HEX
from api.pages import Page
from compression.data.summary import DatasetSummary, SplitName


class Dataset(BaseModel):
    """Named splits of rows."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    id: str = Field(examples=[f"ds_{EXAMPLE_HEX}"])
    name: str = Field(examples=["sst2"])
    summary: DatasetSummary
    """Rows, columns, values and lengths by split; rows that stand in two splits; warnings."""
    bytes: int
    """As stored."""
    sha256: str
    created_at: datetime


class DatasetPage(Page[Dataset]):
    """Datasets, newest first."""


class Preview(BaseModel):
    split: SplitName
    rows: list[dict[str, str | list[str]]]
