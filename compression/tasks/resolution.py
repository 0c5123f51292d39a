"""Which columns a task reads and what its labels mean: inferred where that is certain, refused where it is not."""

import re
from typing import Annotated, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import MAX_DISTINCT, Column, DatasetSummary, Split, SplitName
from compression.errors import InputError, Problem
from compression.settings import Settings

MetricName = Literal["accuracy", "f1", "mcc", "pearson", "spearman"]

FITTING_METRICS: dict[str, tuple[MetricName, ...]] = {
    "single_label": ("accuracy", "f1", "mcc"),
    "regression": ("pearson", "spearman"),
}
LABEL_NAMES = ("label", "labels", "class", "category", "target", "score", "quality", "sentiment")
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text", "text_pair"), ("text1", "text2"), ("query", "passage"),
)  # fmt: skip
GENERIC_LABEL = re.compile(r"LABEL_\d+|\d+")


class RequestedColumns(Settings):
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


class TaskRequest(Settings):
    """A task with all that the user wants to settle; the rest is inferred."""

    type: Literal["text-classification"] = "text-classification"
    columns: RequestedColumns = RequestedColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each value of the label column means; needed where the names differ."""
    max_length: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Word pieces per row, longer rows are cut; as many as the model takes by default, at most 512."""


class Columns(Settings):
    text: str
    text_pair: str | None = None
    label: str


class Task(Settings):
    """A task with nothing left to guess."""

    type: Literal["text-classification"] = "text-classification"
    problem_type: Literal["single_label", "regression"]
    columns: Columns
    labels: dict[str, int]
    """Class id of each value of the label column; empty for regression."""
    label_names: list[str]
    """The model's names by class id."""
    max_length: int


def resolve_metric(metric: MetricName | None, task: Task) -> MetricName:
    """The metric that retention is about.

    Raises:
        InputError: the metric does not fit the task.
    """
    fitting = FITTING_METRICS[task.problem_type]
    if metric is None:
        return fitting[0]
    if metric not in fitting:
        message = f"{metric} does not fit a {task.problem_type} model: use one of {', '.join(fitting)}"
        raise InputError(Problem("metric_does_not_fit", message, "/evaluation/metric"))
    return metric


def resolve_task(
    request: TaskRequest | None, model: ModelFacts, dataset: DatasetSummary, evaluation_split: SplitName
) -> Task:
    """Settle the columns and the meaning of the labels.

    Raises:
        InputError: a column is missing, a guess is not certain (the candidates are listed), or the labels do not fit.
    """
    request = request or TaskRequest()
    for split in ("train", evaluation_split):
        if split not in dataset.splits:
            message = f"the dataset has no split {split!r}, only {', '.join(dataset.splits)}"
            raise InputError(Problem("missing_split", message, "/dataset"))
    columns = _resolve_columns(request.columns, model, dataset)
    splits = {name: split for name, split in dataset.splits.items() if name in ("train", evaluation_split)}
    if model.problem_type == "regression":
        _check_scores(columns.label, splits)
        labels = {}
    else:
        labels = _resolve_labels(request.labels, columns.label, model, splits)
    return Task(
        problem_type=model.problem_type,
        columns=columns,
        labels=labels,
        label_names=model.labels,
        max_length=_resolve_max_length(request.max_length, model),
    )


def _resolve_max_length(requested: int | None, model: ModelFacts) -> int:
    if requested is not None and requested > model.max_length:
        message = f"the model takes at most {model.max_length} word pieces, not {requested}"
        raise InputError(Problem("max_length_too_large", message, "/task/max_length"))
    return requested or min(model.max_length, 512)


def _resolve_columns(requested: RequestedColumns, model: ModelFacts, dataset: DatasetSummary) -> Columns:
    train = dataset.splits["train"]
    for role, name in requested.model_dump(exclude_none=True).items():
        for split_name, split in dataset.splits.items():
            if split.column(name) is None:
                known = ", ".join(c.name for c in split.columns)
                message = f"split {split_name!r} has no column {name!r}, only {known}"
                raise InputError(Problem("missing_column", message, f"/task/columns/{role}"))
    label = requested.label or _guess_label(train, model, exclude={requested.text, requested.text_pair})
    if requested.text is not None:
        return Columns(text=requested.text, text_pair=requested.text_pair, label=label)
    names = {c.name.lower(): c.name for c in train.columns}
    for first, second in PAIR_NAMES:
        if first in names and second in names and label not in (names[first], names[second]):
            return Columns(text=names[first], text_pair=names[second], label=label)
    texts = [c.name for c in train.columns if c.kind == "text" and c.name not in (label, requested.text_pair)]
    if len(texts) != 1:
        raise _uncertain("text", texts)
    return Columns(text=texts[0], text_pair=requested.text_pair, label=label)


def _guess_label(train: Split, model: ModelFacts, exclude: set[str | None]) -> str:
    columns = [c for c in train.columns if c.name not in exclude]
    named = [c.name for c in columns if c.name.lower() in LABEL_NAMES]
    if len(named) == 1:
        return named[0]
    candidates = named or [c.name for c in columns if _may_be_label(c, model)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        known = ", ".join(c.name for c in train.columns)
        message = f"no column looks like a label among {known}: name it in task.columns.label"
        raise InputError(Problem("no_label_column", message, "/task/columns/label"))
    raise _uncertain("label", candidates)


def _may_be_label(column: Column, model: ModelFacts) -> bool:
    if model.problem_type == "regression":
        return column.kind != "text"
    return column.distinct is not None and set(column.distinct) <= set(model.labels)


def _uncertain(role: str, candidates: list[str]) -> InputError:
    found = f"could be {', '.join(candidates)}" if candidates else "is not there"
    message = f"the {role} column {found}: name it in task.columns.{role}"
    return InputError(Problem(f"ambiguous_{role}_column", message, f"/task/columns/{role}"))


def _resolve_labels(
    requested: dict[str, str] | None, label: str, model: ModelFacts, splits: dict[SplitName, Split]
) -> dict[str, int]:
    values = sorted({value for split in splits.values() for value in _distinct(split, label)})
    ids = {name: i for i, name in enumerate(model.labels)}
    if requested is not None:
        meaning = requested
    elif set(values) <= set(ids):
        meaning = {value: value for value in values}
    elif _are_class_ids(values, len(ids)) and all(GENERIC_LABEL.fullmatch(name) for name in ids):
        meaning = {value: model.labels[int(value)] for value in values}
    else:
        meaning = {value: value for value in values if value in ids}
    wrong = [value for value in values if meaning.get(value) not in ids]
    if not wrong:
        return {value: ids[meaning[value]] for value in values}
    hint = ""
    if _are_class_ids(values, len(ids)):
        example = ", ".join(f'"{i}": "{name}"' for i, name in enumerate(model.labels[:3]))
        hint = (
            f"; if they are class ids, say so: task.labels = {{{example}{', ...' if len(ids) > 3 else ''}}}"
        )
    known = _quoted(list(ids))
    message = f"column {label!r} holds {_quoted(wrong)}, which the model does not know; its labels are {known}{hint}"
    raise InputError(
        Problem("labels_do_not_match", message, "/task/labels" if requested else "/task/columns/label")
    )


def _distinct(split: Split, label: str) -> dict[str, int]:
    column = split.column(label)
    assert column is not None, "columns are checked before labels"
    if column.distinct is None:
        message = f"column {label!r} holds more than {MAX_DISTINCT} different values: it is no class label"
        raise InputError(Problem("no_label_column", message, "/task/columns/label"))
    if column.empty:
        message = f"column {label!r} is empty in {column.empty} rows"
        raise InputError(Problem("missing_labels", message, "/task/columns/label"))
    return column.distinct


def _are_class_ids(values: list[str], labels: int) -> bool:
    return all(value.isascii() and value.isdigit() and int(value) < labels for value in values)


def _check_scores(label: str, splits: dict[SplitName, Split]) -> None:
    for name, split in splits.items():
        column = split.column(label)
        assert column is not None, "columns are checked before labels"
        if column.kind == "text" or column.empty:
            message = f"the model is a regression, but column {label!r} of split {name!r} is not a number in every row"
            raise InputError(Problem("labels_not_numeric", message, "/task/columns/label"))


def _quoted(values: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(v) for v in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
