"""Text classification: one label, several labels or one score (regression) per text or pair of texts."""

from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts, ProblemType
from compression.data.summary import Column, ColumnKind, SplitName
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
    columns_named,
    having,
    judged_by,
    may_be_labels,
    resolve_labels,
    resolve_max_length,
    uncertain,
)
from compression.tasks.texts import only_texts, settle_texts

METRICS: dict[ProblemType, tuple[MetricName, ...]] = {
    "single_label": ("accuracy", "f1", "f1_macro", "mcc"),
    "multi_label": ("f1_micro", "f1_macro", "accuracy"),
    "regression": ("pearson", "spearman"),
}
SINGLE_VALUES: tuple[ColumnKind, ...] = ("text", "integer", "number")
LIST: ColumnKind = "list"
SEPARATORS = ("|", ";", ",")
HOT = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
"""What JSON's numbers and truth values that say whether a label is there have become."""


class RequestedTextColumns(Settings):
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    """Null for rows without labels: the original labels them. Where a text may have several labels, a list names them,
    or holds nothing but a one or a zero for each label of the model, in the order of its class ids."""


class TextClassificationRequest(BaseRequest):
    type: Literal["text-classification"]
    columns: RequestedTextColumns = RequestedTextColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each value of the label column means; needed where the names differ. The values of lists
    of ones and zeros are the places in them, from `0`."""
    separator: Annotated[str, Field(min_length=1, max_length=5)] | None = None
    """What stands between several labels of a text, where they are one value and not a list; `|`, `;` and `,` are
    found out."""


class TextColumns(Settings):
    text: str
    text_pair: str | None = None
    label: str | None = None


class TextClassificationTask(BaseTask):
    """One label, several labels or one score per text or pair of texts."""

    READ: ClassVar[tuple[str, ...]] = ("text", "text_pair")

    type: Literal["text-classification"] = "text-classification"
    problem_type: ProblemType
    columns: TextColumns
    labels: dict[str, int]
    """Class id of each value of the label column; empty for regression."""
    label_names: list[str]
    """The model's names by class id."""
    separator: str | None = None
    """What stands between several labels of a text; null where they are lists."""
    multi_hot: bool = False
    """These lists hold a one or a zero for each label of the model."""

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return METRICS[self.problem_type]

    @property
    def has_label_loyalty(self) -> bool:
        return self.problem_type != "regression"


def resolve(
    request: TextClassificationRequest,
    model: ModelFacts,
    used: Splits,
    evaluation: SplitName,
) -> TextClassificationTask:
    """Settle columns and labels. Raises InputError."""
    assert model.problem_type is not None, "the inspection knows the kind of every text classifier"
    check_columns(request.columns, used, "label")
    columns = _resolve_columns(request.columns, model, used)
    several = model.problem_type == "multi_label"
    label, labelled = columns.label or "", having(used, columns.label) if columns.label else {}
    for role, name in columns.model_dump(exclude_none=True).items():
        kinds = SINGLE_VALUES if role != "label" or not several else (*SINGLE_VALUES, LIST)
        check_kind(labelled if role == "label" else used, role, name, kinds)
    separator, multi_hot = None, several and _are_multi_hot(labelled, label, len(model.labels))
    if model.problem_type == "regression":
        check_numbers(labelled, "label", label, "labels_not_numeric")
        labels = {}
    elif multi_hot:
        places = _with_values(labelled, lambda _: map(str, range(len(model.labels))))
        holds = "has ones and zeros at the places"
        labels = resolve_labels(request.labels, "label", label, model, places, holds)
    elif several:
        separator = _resolve_separator(request.separator, label, model, labelled)
        apart = _with_values(labelled, lambda value: labels_in(value, separator))
        labels = resolve_labels(request.labels, "label", label, model, apart)
    else:
        labels = resolve_labels(request.labels, "label", label, model, labelled)
    return TextClassificationTask(
        problem_type=model.problem_type,
        columns=columns,
        labels=labels,
        label_names=model.labels,
        separator=separator,
        multi_hot=multi_hot,
        max_length=resolve_max_length(request.max_length, model),
        judged_by=judged_by(
            "label", columns.label, used, evaluation, rightly_empty=used[evaluation].rows if several else 0
        ),
    )


def _resolve_columns(requested: RequestedTextColumns, model: ModelFacts, used: Splits) -> TextColumns:
    label, columns = requested.label, all_columns(used)
    if "label" not in requested.model_fields_set:
        label = _guess_label(columns, model, exclude={requested.text, requested.text_pair})
    text, pair = settle_texts(requested.text, requested.text_pair, used["train"].columns, label)
    return TextColumns(text=text, text_pair=pair, label=label)


def _guess_label(every: list[Column], model: ModelFacts, exclude: set[str | None]) -> str | None:
    """The column of labels; none where the rows are texts and nothing else."""
    columns = [c for c in every if c.name not in exclude]
    if only_texts(columns) or not columns:
        return None
    named = [c.name for c in columns if c.name.lower() in LABEL_NAMES]
    if len(named) == 1:
        return named[0]
    candidates = named or [c.name for c in columns if _may_be_label(c, model)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        known = ", ".join(c.name for c in every)
        message = f"no column looks like a label among {known}: name it in task.columns.label"
        raise InputError(Problem("no_label_column", message, "/task/columns/label"))
    raise uncertain("label", candidates)


def _may_be_label(column: Column, model: ModelFacts) -> bool:
    return column.kind != "text" if model.problem_type == "regression" else may_be_labels(column, model)


def _resolve_separator(requested: str | None, label: str, model: ModelFacts, splits: Splits) -> str | None:
    """The separator of labels that are one value: the first that leaves nothing but labels of the model."""
    values = {value for _, column in columns_named(splits, label) for value in column.distinct or ()}
    if requested or all(column.kind == "list" for _, column in columns_named(splits, label)):
        return requested
    for separator in SEPARATORS:
        if {part for value in values for part in labels_in(value, separator)} <= set(model.labels):
            return separator
    message = (
        f"what stands between the labels in column {label!r}? Set task.separator, and task.labels if need be"
    )
    raise InputError(Problem("unknown_separator", message, "/task/separator"))


def labels_in(value: str, separator: str | None) -> list[str]:
    """The labels that a value holds; none where nothing stands between separators."""
    parts = value.split(separator) if separator else [value]
    return [part.strip() for part in parts if part.strip()]


def _are_multi_hot(splits: Splits, label: str, labels: int) -> bool:
    """Whether all lists hold a one or a zero for each label: as class ids they would repeat some, or be all of them."""
    columns = [column for _, column in columns_named(splits, label)]
    return bool(columns) and all(
        column.kind == "list"
        and set(column.distinct or ("",)) <= HOT.keys()
        and column.lengths.mean == column.lengths.max == labels
        for column in columns
    )


def _with_values(splits: Splits, found_in: Callable[[str], Iterable[str]]) -> Splits:
    """The splits with what is found in their values in the place of these; rows without a label are in order."""

    def column_with(column: Column) -> Column:
        distinct = {found: 0 for value in column.distinct or () for found in found_in(value)}
        return column.model_copy(
            update={"distinct": distinct if column.distinct is not None else None, "empty": 0}
        )

    return {
        name: split.model_copy(update={"columns": [column_with(column) for column in split.columns]})
        for name, split in splits.items()
    }
