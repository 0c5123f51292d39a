"""Causal language modelling: which word piece comes next, learnt from texts without labels."""

from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Split, SplitName
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    check_columns,
    resolve_max_length,
)
from compression.tasks.reading import Reading, pieces_in
from compression.tasks.texts import RequestedTexts, Texts, resolve_texts


class TextGenerationRequest(BaseRequest):
    """A text of more than `max_length` word pieces is read in blocks of so many, which know nothing of each other."""

    type: Literal["text-generation"]
    columns: RequestedTexts = RequestedTexts()
    measured_pieces: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """Word pieces of the evaluation rows that the model is measured by: all of them, or so many of them, drawn at
    random but the same ones each time, where there are more."""


class TextGenerationTask(BaseTask):
    """The word piece that comes next."""

    READ: ClassVar[tuple[str, ...]] = ("text",)
    PREDICTS_PIECES: ClassVar[bool] = True

    type: Literal["text-generation"] = "text-generation"
    columns: Texts
    measured_pieces: int

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return ("perplexity", "accuracy")

    def reading(self, split: Split, *, learns: bool) -> Reading:
        """A text is read in blocks, whole; what is measured of it may be less."""
        pieces = max(pieces_in(split, self.columns_read), 1)
        blocks = ceil(pieces / self.max_length)
        sequences, length = split.rows * blocks, pieces / blocks
        return Reading(sequences, length, length if learns else min(length, self.measured_pieces / sequences))


def resolve(
    request: TextGenerationRequest,
    model: ModelFacts,
    used: Splits,
    evaluation: SplitName,
) -> TextGenerationTask:
    """Settle the column. Raises InputError."""
    check_columns(request.columns, used)
    return TextGenerationTask(
        columns=resolve_texts(request.columns, used),
        measured_pieces=request.measured_pieces,
        max_length=resolve_max_length(request.max_length, model),
    )
