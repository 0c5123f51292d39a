"""Extractive question answering: the part of a context that answers a question, or none."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    check_columns,
    check_kind,
    columns_named,
    guess,
    resolve_max_length,
)

LENGTH, STRIDE, QUESTION_LENGTH = 384, 128, 64
"""Word pieces of a window, shared by two of them, and of a question, as in BERT's own script."""


class RequestedQuestionColumns(Settings):
    question: str | None = None
    context: str | None = None
    answers: str | None = None
    answer_starts: str | None = None


class QuestionAnsweringRequest(BaseRequest):
    type: Literal["question-answering"]
    columns: RequestedQuestionColumns = RequestedQuestionColumns()
    doc_stride: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Word pieces that neighbouring windows of a long context share; 128 by default, where there is room."""


class QuestionColumns(Settings):
    question: str
    context: str
    answers: str
    """Lists of acceptable answers; empty where the context holds none."""
    answer_starts: str
    """Where each of them begins, in characters."""


class QuestionAnsweringTask(BaseTask):
    """The part of a context that answers a question, or none."""

    READ: ClassVar[tuple[str, ...]] = ("question", "context")

    type: Literal["question-answering"] = "question-answering"
    columns: QuestionColumns
    doc_stride: int
    max_question_length: int
    """Word pieces; longer questions are cut."""
    may_be_unanswered: bool
    """Some contexts hold no answer, and to say so is one."""

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        return ("f1", "exact_match")


def resolve(
    request: QuestionAnsweringRequest, model: ModelFacts, dataset: DatasetSummary, used: Splits
) -> QuestionAnsweringTask:
    """Settle columns and lengths. Raises InputError."""
    check_columns(request.columns, dataset)
    columns = _resolve_columns(request.columns, dataset)
    for role in ("question", "context"):
        check_kind(used, role, getattr(columns, role), ("text", "integer", "number"))
    for role in ("answers", "answer_starts"):
        check_kind(used, role, getattr(columns, role), ("list",))
    length = resolve_max_length(request.max_length or min(model.max_length, LENGTH), model)
    question = min(QUESTION_LENGTH, length // 3)
    # What a window has left for the context, with four special pieces: half of it may be shared.
    room = (length - question - 4) // 2
    return QuestionAnsweringTask(
        columns=columns,
        doc_stride=min(STRIDE if request.doc_stride is None else request.doc_stride, room),
        max_question_length=question,
        may_be_unanswered=any(column.empty for _, column in columns_named(used, columns.answers)),
        max_length=length,
    )


def _resolve_columns(requested: RequestedQuestionColumns, dataset: DatasetSummary) -> QuestionColumns:
    columns = dataset.splits["train"].columns

    def named(role: str, *names: str) -> str:
        given: str | None = getattr(requested, role)
        return given or guess(role, columns, lambda column: column.name.lower() in names)

    return QuestionColumns(
        question=named("question", "question"),
        context=named("context", "context"),
        answers=named("answers", "answers", "answers.text"),
        answer_starts=named("answer_starts", "answer_starts", "answers.answer_start", "answer_start"),
    )
