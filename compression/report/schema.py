"""The report of a job: what was measured on the original and on the result, on the same rows and the same machine."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from compression.tasks.columns import MetricName


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measured(_Part):
    """A value with its 95 % bootstrap interval over the rows."""

    value: float
    low: float
    high: float


class Latency(_Part):
    batch_size: int
    sequence_length: int
    """Word pieces per row."""
    threads: int
    median_ms: float
    p95_ms: float


class ClassResult(_Part):
    label: str
    rows: int
    precision: float
    recall: float
    f1: float


class ModelResult(_Part):
    """One of the two models."""

    metrics: dict[str, Measured]
    classes: list[ClassResult]
    """Empty where answers are no classes: scores, and parts of a context."""
    layers: int
    hidden_size: int
    parameters: int
    embedding_parameters: int
    nonzero_parameters: int
    plain: bool
    """Whether transformers alone can load it; else the file `plankwright_model.py` beside the weights does."""
    bytes: int
    """Of the weight file that a user downloads or sent."""
    flops: int
    """Multiply-adds of one row of median length, forward."""
    latency: list[Latency]
    peak_memory_bytes: int
    """Highest resident memory while it was measured alone at the largest batch (on a GPU: allocated memory)."""


class PairedTest(_Part):
    """Could the two models be equally good? McNemar's exact test, or Wilcoxon's of how wrong they are."""

    name: str
    p_value: float
    only_before_right: int | None = None
    only_after_right: int | None = None


class Loyalty(_Part):
    """Agreement of the result with the original, labels aside (Xu et al. 2021, section 3)."""

    label: Measured | None
    """Share of the same answers: of rows, words or masked word pieces; null for regression."""
    probability: Measured
    """Mean of 1 - sqrt(Jensen-Shannon divergence, base 2); for regression 1 - mean |difference| / label range."""


class FileResult(_Part):
    """One of the files that the result is delivered in, measured as it is read back."""

    name: str
    runtime: Literal["torch", "ONNX Runtime"]
    precision: Literal["float32", "bfloat16", "int8"]
    """What its linear layers multiply."""
    bytes: int
    """Of the weights and what is in one file with them."""
    metrics: dict[str, Measured]
    loyalty: Loyalty
    latency: list[Latency]


class FlippedRow(_Part):
    """A row on which the two models disagree."""

    row: int
    """Counted from 1 in the evaluation split."""
    text: str
    text_pair: str | None
    label: str
    before: str
    after: str
    before_confidence: float
    after_confidence: float


class Point(_Part):
    step: int
    value: float


class ConstraintResult(_Part):
    name: str
    bound: float
    measured: float | None
    """Null where it is not defined for the task."""
    met: bool


class Machine(_Part):
    device: str
    cpu: str
    cores: int
    memory_bytes: int
    versions: dict[str, str]


class Report(_Part):
    """`report.json`."""

    version: Literal[1] = 1
    job_id: str
    job_name: str
    created: str
    recipe: list[str]
    """One line per step, in words."""
    task: str
    metric: MetricName
    """Name of the metric that retention is about."""
    split: str
    rows: int
    seed: int
    before: ModelResult
    after: ModelResult
    files: list[FileResult]
    """The delivered files; the first is the one that `after` is about."""
    retention: float | None
    """Metric after over metric before, of a perplexity before over after; null where it would not be positive."""
    difference: Measured
    """Metric after less metric before, of both models on the same rows, drawn again and again."""
    size_ratio: float
    """Bytes after over bytes before."""
    speedup: dict[int, float]
    """Median latency before over after, by batch size."""
    paired_test: PairedTest
    loyalty: Loyalty
    flipped: list[FlippedRow]
    """At most 200."""
    flipped_total: int
    curves: dict[str, list[Point]]
    """Training metrics by name, thinned to at most 500 points each."""
    constraints: list[ConstraintResult]
    verdict: Literal["met", "not_met"]
    warnings: list[str]
    notes: list[str] = []
    """What the steps found out and decided on the way."""
    seconds: dict[str, float]
    """Wall time by phase."""
    machine: Machine
