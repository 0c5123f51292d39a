"""The tasks: what a user may ask for, and what it is once nothing is left to guess."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary, SplitName
from compression.errors import InputError, Problem
from compression.tasks.columns import MetricName
from compression.tasks.fill_mask import resolution as fill_mask
from compression.tasks.fill_mask.resolution import FillMaskRequest, FillMaskTask
from compression.tasks.question_answering import resolution as question_answering
from compression.tasks.question_answering.resolution import QuestionAnsweringRequest, QuestionAnsweringTask
from compression.tasks.sentence_similarity import resolution as sentence_similarity
from compression.tasks.sentence_similarity.resolution import SentenceSimilarityRequest, SentenceSimilarityTask
from compression.tasks.text_classification import resolution as text_classification
from compression.tasks.text_classification.resolution import TextClassificationRequest, TextClassificationTask
from compression.tasks.text_generation import resolution as text_generation
from compression.tasks.text_generation.resolution import TextGenerationRequest, TextGenerationTask
from compression.tasks.token_classification import resolution as token_classification
from compression.tasks.token_classification.resolution import (
    TokenClassificationRequest,
    TokenClassificationTask,
)

TaskRequest = Annotated[
    TextClassificationRequest
    | TokenClassificationRequest
    | QuestionAnsweringRequest
    | FillMaskRequest
    | SentenceSimilarityRequest
    | TextGenerationRequest,
    Field(discriminator="type"),
]
Task = Annotated[
    TextClassificationTask
    | TokenClassificationTask
    | QuestionAnsweringTask
    | FillMaskTask
    | SentenceSimilarityTask
    | TextGenerationTask,
    Field(discriminator="type"),
]

REQUEST: TypeAdapter[TaskRequest] = TypeAdapter(TaskRequest)


def resolve_metrics(
    metric: MetricName | None, metrics: list[MetricName] | None, task: Task
) -> list[MetricName]:
    """The metrics to measure, the one that retention is about first.

    Raises:
        InputError: one does not fit the task.
    """
    problems = [
        Problem(
            "metric_does_not_fit", f"{name} does not fit here: use some of {', '.join(task.metrics)}", place
        )
        for place, names in (("/evaluation/metric", [metric]), ("/evaluation/metrics", metrics or []))
        for name in names
        if name not in (None, *task.metrics)
    ]
    if problems:
        raise InputError(problems)
    others = task.metrics if metrics is None else metrics
    return list(dict.fromkeys([metric or others[0], *others]))


def splits_used(evaluation: SplitName) -> tuple[SplitName, ...]:
    """Validation rows choose the best weights, whichever split the report is about; no other split is ever read."""
    return ("train", "validation") if evaluation == "validation" else ("train", "validation", evaluation)


def resolve_task(
    request: TaskRequest | None, model: ModelFacts, dataset: DatasetSummary, evaluation_split: SplitName
) -> Task:
    """Settle the columns and the meaning of the labels, for the task that the model is made for.

    Raises:
        InputError: a column is missing, a guess is not certain (the candidates are listed), or the labels do not fit.
    """
    for split in ("train", evaluation_split):
        if split not in dataset.splits:
            message = f"the dataset has no split {split!r}, only {', '.join(dataset.splits)}"
            raise InputError(Problem("missing_split", message, "/dataset"))
    used = {name: dataset.splits[name] for name in splits_used(evaluation_split) if name in dataset.splits}
    wanted: TaskRequest = request or REQUEST.validate_python({"type": model.task})
    if wanted.type != model.task:
        message = f"the model is one for {model.task}, not for {wanted.type}"
        raise InputError(Problem("task_does_not_fit", message, "/task/type"))
    match wanted:
        case TextClassificationRequest():
            return text_classification.resolve(wanted, model, used, evaluation_split)
        case TokenClassificationRequest():
            return token_classification.resolve(wanted, model, used, evaluation_split)
        case QuestionAnsweringRequest():
            return question_answering.resolve(wanted, model, used, evaluation_split)
        case FillMaskRequest():
            return fill_mask.resolve(wanted, model, used, evaluation_split)
        case SentenceSimilarityRequest():
            return sentence_similarity.resolve(wanted, model, used, evaluation_split)
        case TextGenerationRequest():
            return text_generation.resolve(wanted, model, used, evaluation_split)
