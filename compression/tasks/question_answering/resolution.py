"""Extractive question answering: the part of a context that answers a question, or none."""

from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Split, SplitName
from compression.errors import InputError, Problem
from compression.settings import Settings
from compression.tasks.columns import (
    BaseRequest,
    BaseTask,
    MetricName,
    Splits,
    all_columns,
    check_columns,
    check_kind,
    columns_named,
    guess,
    having,
    judged_by,
    resolve_max_length,
)
from compression.tasks.reading import SPECIAL_PIECES, Reading, pieces_in

LENGTH, STRIDE, QUESTION_LENGTH = 384, 128, 64
"""Word pieces of a window, shared by two of them, and of a question, as in BERT's own script."""


class RequestedQuestionColumns(Settings):
    question: str | None = None
    context: str | None = None
    answers: str | None = None
    """Null for questions without answers: the original answers them."""
    answer_starts: str | None = None


class QuestionAnsweringRequest(BaseRequest):
    type: Literal["question-answering"]
    columns: RequestedQuestionColumns = RequestedQuestionColumns()
    doc_stride: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Word pieces that neighbouring windows of a long context share; 128 by default, where there is room."""
    may_be_unanswered: bool | None = None
    """Whether some contexts hold no answer, and to say so is one; by default whether the dataset has such questions.
    Needed where it has no answers at all."""


class QuestionColumns(Settings):
    question: str
    context: str
    answers: str | None = None
    """Lists of acceptable answers; empty where the context holds none."""
    answer_starts: str | None = None
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
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return ("f1", "exact_match")

    def reading(self, split: Split, *, learns: bool) -> Reading:
        """A long context is read in windows, each behind the question."""
        question = min(pieces_in(split, [self.columns.question]), self.max_question_length) + SPECIAL_PIECES
        context, room = pieces_in(split, [self.columns.context]), self.max_length - question
        windows = 1 + ceil(max(context - room, 0) / (room - self.doc_stride))
        shared = (windows - 1) * self.doc_stride
        return Reading(split.rows * windows, question + (context + shared) / windows)


def resolve(
    request: QuestionAnsweringRequest,
    model: ModelFacts,
    used: Splits,
    evaluation: SplitName,
) -> QuestionAnsweringTask:
    """Settle columns and lengths. Raises InputError."""
    check_columns(request.columns, used, "answers", "answer_starts")
    columns = _resolve_columns(request.columns, used)
    for role in ("question", "context"):
        check_kind(used, role, getattr(columns, role), ("text", "integer", "number"))
    answered = having(used, columns.answers) if columns.answers else {}
    if columns.answers and columns.answer_starts:
        check_kind(answered, "answers", columns.answers, ("list",))
        check_kind(answered, "answer_starts", columns.answer_starts, ("list",))
    length = resolve_max_length(request.max_length or min(model.max_length, LENGTH), model)
    question = min(QUESTION_LENGTH, length // 3)
    return QuestionAnsweringTask(
        columns=columns,
        doc_stride=_resolve_stride(request.doc_stride, length, question),
        max_question_length=question,
        may_be_unanswered=_resolve_unanswered(request.may_be_unanswered, answered, columns.answers),
        judged_by=judged_by(
            "answers", columns.answers, used, evaluation, rightly_empty=used[evaluation].rows
        ),
        max_length=length,
    )


def _resolve_stride(requested: int | None, length: int, question: int) -> int:
    """Of what a window has left for the context, with four special pieces, half may be shared."""
    room = (length - question - 4) // 2
    if requested is not None and requested > room:
        message = (
            f"windows of {length} word pieces can share {room} at most, not {requested}: lower it, or raise "
            "task.max_length"
        )
        raise InputError(Problem("doc_stride_too_large", message, "/task/doc_stride"))
    return min(STRIDE, room) if requested is None else requested


def _resolve_unanswered(requested: bool | None, answered: Splits, answers: str | None) -> bool:
    if requested is not None:
        return requested
    if answers is None:
        message = "no column of answers tells whether some contexts hold none: set task.may_be_unanswered"
        raise InputError(Problem("unknown_if_unanswered", message, "/task/may_be_unanswered"))
    return any(column.empty for _, column in columns_named(answered, answers))


def _resolve_columns(requested: RequestedQuestionColumns, used: Splits) -> QuestionColumns:
    columns = all_columns(used)

    def named(role: str, *names: str) -> str:
        given: str | None = getattr(requested, role)
        return given or guess(role, columns, lambda column: column.name.lower() in names)

    read = {role: named(role, role) for role in ("question", "context")}
    nothing_else = {column.name for column in columns} <= {*read.values(), "id"}
    if requested.answers is None and (nothing_else or "answers" in requested.model_fields_set):
        return QuestionColumns(**read)
    return QuestionColumns(
        **read,
        answers=named("answers", "answers", "answers.text"),
        answer_starts=named("answer_starts", "answer_starts", "answers.answer_start", "answer_start"),
    )
