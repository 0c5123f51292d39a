"""What is known of a dataset once it has been read."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

SplitName = Literal["train", "validation", "test"]
ColumnKind = Literal["text", "integer", "number", "list"]

MAX_DISTINCT = 1000
"""A column with more distinct values than this cannot be a class label."""


class Lengths(BaseModel):
    """Words (runs without white space) per value, or items per list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    p50: int
    p95: int
    p99: int
    max: int


class Column(BaseModel):
    """One column of one split. Values are kept as text, or as lists of text; `kind` is the narrowest that fits all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: ColumnKind
    empty: int
    """Rows whose value is empty."""
    distinct: dict[str, int] | None
    """Rows per value, or times that each item of lists occurs; null for more than MAX_DISTINCT values, and where most
    of many values are hardly repeated."""
    minimum: float | None = None
    maximum: float | None = None
    lengths: Lengths


class Split(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    columns: list[Column]
    duplicates: int
    """Rows equal to an earlier row of the same split."""

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)


class DatasetSummary(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    splits: dict[SplitName, Split]
    leaked_rows: dict[SplitName, int]
    """Rows of `validation` and `test` that also stand in `train`, word for word."""
    warnings: list[str]
