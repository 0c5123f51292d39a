"""Embeddings of sentences: one vector of each text, learnt from the original's, without labels.

Pairs of texts with a score of how alike they are tell how good the embeddings are.
"""

from typing import ClassVar, Literal

from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.sentence import Pooling
from compression.data.summary import Column, Split, SplitName
from compression.errors import InputError, Problem
from compression.settings import Settings
from compression.tasks.columns import (
    LABEL_NAMES,
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    all_columns,
    check_columns,
    check_kind,
    check_numbers,
    having,
    judged_by,
    resolve_max_length,
    uncertain,
)
from compression.tasks.reading import SPECIAL_PIECES, Reading, pieces_in
from compression.tasks.texts import settle_texts

SCORE_NAMES = (*LABEL_NAMES, "similarity")


class RequestedSimilarityColumns(Settings):
    text: str | None = None
    text_pair: str | None = None
    score: str | None = None
    """How alike two texts are, in any unit; null for rows without scores."""


class SentenceSimilarityRequest(BaseRequest):
    type: Literal["sentence-similarity"]
    columns: RequestedSimilarityColumns = RequestedSimilarityColumns()


class SimilarityColumns(Settings):
    text: str
    text_pair: str | None = None
    score: str | None = None


class SentenceSimilarityTask(BaseTask):
    """One vector of each text, near to those of texts that say the same."""

    READ: ClassVar[tuple[str, ...]] = ("text", "text_pair")

    type: Literal["sentence-similarity"] = "sentence-similarity"
    columns: SimilarityColumns
    pooling: Pooling
    normalize: bool

    @property
    def reads_pairs(self) -> bool:
        return False  # each text is a row of its own

    @property
    def has_label_loyalty(self) -> bool:
        return False

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return ("spearman", "pearson", "cosine")

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        return self.usual_metrics if self.judged_by == "labels" else ("cosine",)

    def reading(self, split: Split, *, learns: bool) -> Reading:
        """Each text of a pair is read for itself."""
        texts = sum(split.column(name) is not None for name in self.columns_read)
        pieces = pieces_in(split, self.columns_read) / texts + SPECIAL_PIECES
        return Reading(split.rows * texts, min(pieces, self.max_length))


def resolve(
    request: SentenceSimilarityRequest,
    model: ModelFacts,
    used: Splits,
    evaluation: SplitName,
) -> SentenceSimilarityTask:
    """Settle the columns. Raises InputError."""
    assert model.sentence is not None, "the inspection reads the modules of every encoder of sentences"
    check_columns(request.columns, used, "text_pair", "score")
    columns = _resolve_columns(request.columns, all_columns(used))
    check_kind(used, "text", columns.text, ("text", "integer", "number"))
    if columns.text_pair:
        check_kind(
            having(used, columns.text_pair), "text_pair", columns.text_pair, ("text", "integer", "number")
        )
    scored = having(used, columns.score) if columns.score else {}
    if columns.score and not columns.text_pair:
        message = f"column {columns.score!r} has scores, but of which pairs? Name task.columns.text_pair"
        raise InputError(Problem("no_pairs", message, "/task/columns/text_pair"))
    check_numbers(scored, "score", columns.score or "", "scores_not_numeric")
    for split in sorted(scored.keys() - having(used, columns.text_pair or "").keys()):
        message = f"split {split!r} has scores, but no column {columns.text_pair!r}"
        raise InputError(Problem("no_pairs", message, "/task/columns/text_pair"))
    return SentenceSimilarityTask(
        columns=columns,
        pooling=model.sentence.pooling,
        normalize=model.sentence.normalize,
        max_length=resolve_max_length(request.max_length, model),
        judged_by=judged_by("score", columns.score, used, evaluation),
    )


def _resolve_columns(requested: RequestedSimilarityColumns, columns: list[Column]) -> SimilarityColumns:
    score = requested.score
    if "score" not in requested.model_fields_set:
        scores = [
            c.name for c in columns if c.kind in ("integer", "number") and c.name.lower() in SCORE_NAMES
        ]
        if len(scores) > 1:
            raise uncertain("score", scores)
        score = next(iter(scores), None)
    text, pair = settle_texts(requested.text, requested.text_pair, columns, score)
    return SimilarityColumns(text=text, text_pair=pair, score=score)
