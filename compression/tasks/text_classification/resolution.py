"""Text classification: one label, several labels or one score (regression) per text or pair of texts."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts, ProblemType
from compression.data.summary import Column, ColumnKind, DatasetSummary, SplitName
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


class RequestedTextColumns(Settings):
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    """Null for rows without labels: the original labels them."""


class TextClassificationRequest(BaseRequest):
    type: Literal["text-classification"]
    columns: RequestedTextColumns = RequestedTextColumns()
    labels: dict[str, str] | None = None
    """Which label of the model each value of the label column means; needed where the names differ."""
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

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        return METRICS[self.problem_type]


def resolve(
    request: TextClassificationRequest,
    model: ModelFacts,
    dataset: DatasetSummary,
    used: Splits,
    evaluation: SplitName,
) -> TextClassificationTask:
    """Settle columns and labels. Raises InputError."""
    assert model.problem_type is not None, "the inspection knows the kind of every text classifier"
    check_columns(request.columns, dataset, "label")
    columns = _resolve_columns(request.columns, model, dataset, all_columns(used))
    several = model.problem_type == "multi_label"
    label, labelled = columns.label or "", having(used, columns.label) if columns.label else {}
    for role, name in columns.model_dump(exclude_none=True).items():
        kinds = SINGLE_VALUES if role != "label" or not several else (*SINGLE_VALUES, LIST)
        check_kind(labelled if role == "label" else used, role, name, kinds)
    separator = None
    if model.problem_type == "regression":
        check_numbers(labelled, "label", label, "labels_not_numeric")
        labels = {}
    elif several:
        separator = _resolve_separator(request.separator, label, model, labelled)
        labels = resolve_labels(request.labels, "label", label, model, _apart(labelled, separator))
    else:
        labels = resolve_labels(request.labels, "label", label, model, labelled)
    return TextClassificationTask(
        problem_type=model.problem_type,
        columns=columns,
        labels=labels,
        label_names=model.labels,
        separator=separator,
        max_length=resolve_max_length(request.max_length, model),
        judged_by=judged_by("label", columns.label, used, evaluation, empty_means_missing=not several),
    )


def _resolve_columns(
    requested: RequestedTextColumns, model: ModelFacts, dataset: DatasetSummary, columns: list[Column]
) -> TextColumns:
    label = requested.label
    if "label" not in requested.model_fields_set:
        label = _guess_label(columns, model, exclude={requested.text, requested.text_pair})
    text, pair = settle_texts(requested.text, requested.text_pair, dataset.splits["train"].columns, label)
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
        if {part.strip() for value in values if value for part in value.split(separator)} <= set(
            model.labels
        ):
            return separator
    message = (
        f"what stands between the labels in column {label!r}? Set task.separator, and task.labels if need be"
    )
    raise InputError(Problem("unknown_separator", message, "/task/separator"))


def _apart(splits: Splits, separator: str | None) -> Splits:
    """The splits with single labels for the values that hold several; rows without a label are in order."""

    def column_apart(column: Column) -> Column:
        values = column.distinct
        if separator and values is not None:
            values = {part.strip(): 0 for value in values if value for part in value.split(separator)}
        return column.model_copy(update={"distinct": values, "empty": 0})

    return {
        name: split.model_copy(update={"columns": [column_apart(column) for column in split.columns]})
        for name, split in splits.items()
    }
