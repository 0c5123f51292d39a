"""Masked language modelling: which word piece stands behind a mask, learnt from texts without labels."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Split, SplitName
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    check_columns,
    resolve_max_length,
)
from compression.tasks.reading import SPECIAL_PIECES, Reading
from compression.tasks.texts import RequestedTexts, Texts, resolve_texts

Share = Annotated[float, Field(ge=0, le=1)]


class HiddenPieces(Settings):
    """What a training hides of its rows, other pieces at every step; by default as BERT's pre-training did."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Of the word pieces of a row, at least one."""
    masked: Share = 0.8
    """Of those, the ones in whose place the mask stands."""
    exchanged: Share = 0.1
    """And the ones in whose place some other piece stands; what is left stays as it is."""

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if self.masked + self.exchanged > 1:
            raise ValueError("masked and exchanged are shares of one whole: together at most 1")
        return self


class FillMaskRequest(BaseRequest):
    type: Literal["fill-mask"]
    columns: RequestedTexts = RequestedTexts()
    hidden: HiddenPieces = HiddenPieces()
    measured_pieces: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Word pieces of the evaluation rows that are guessed, each hidden alone in its row: all of them, or so many of
    them, drawn at random but the same ones each time, where there are more."""


class FillMaskTask(BaseTask):
    """The word piece behind a mask."""

    READ: ClassVar[tuple[str, ...]] = ("text",)
    PREDICTS_PIECES: ClassVar[bool] = True

    type: Literal["fill-mask"] = "fill-mask"
    columns: Texts
    hidden: HiddenPieces
    measured_pieces: int

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return ("pseudo_perplexity", "accuracy")

    def reading(self, split: Split, *, learns: bool) -> Reading:
        """To be measured, a row is read once for each of its pieces that is hidden."""
        row = super().reading(split, learns=learns)
        words = max(row.pieces - SPECIAL_PIECES, 0)
        if learns:
            return replace(row, answers=max(self.hidden.share * words, 1))
        return Reading(min(round(row.sequences * words), self.measured_pieces), row.pieces, 1)


def resolve(request: FillMaskRequest, model: ModelFacts, used: Splits, evaluation: SplitName) -> FillMaskTask:
    """Settle the column. Raises InputError."""
    check_columns(request.columns, used)
    return FillMaskTask(
        columns=resolve_texts(request.columns, used),
        hidden=request.hidden,
        measured_pieces=request.measured_pieces,
        max_length=resolve_max_length(request.max_length, model),
    )
