"""What every task asks of a dataset: which columns hold what, and what the labels in them mean.

Inferred where that is certain, refused with the candidates where it is not.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.data.summary import MAX_DISTINCT, Column, ColumnKind, Split, SplitName
from compression.errors import InputError, Problem
from compression.settings import Settings
from compression.tasks.reading import SPECIAL_PIECES, Reading, pieces_in

MetricName = Literal[
    "accuracy",
    "f1",
    "f1_micro",
    "f1_macro",
    "precision",
    "recall",
    "mcc",
    "pearson",
    "spearman",
    "exact_match",
    "cosine",
    "pseudo_perplexity",
    "perplexity",
    "loyalty",
]
LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"pseudo_perplexity", "perplexity"})

LABEL_NAMES = ("label", "labels", "class", "category", "target", "score", "quality", "sentiment")
LABEL_ROLES = ("label", "tags", "answers", "score")
"""Those whose column may be null: rows without labels."""
LARGEST_SCORE = 1e12
"""In 32 bits there is room for the squares of errors as large, and of their gradients, and for sums of many."""
GENERIC_LABEL = re.compile(r"LABEL_\d+|\d+")
MOST_PIECES = 512
"""Word pieces that a row is cut to by default, where the model takes as many."""

MaxLength = Annotated[int, Field(ge=8, le=8192)]
Splits = Mapping[SplitName, Split]


class BaseRequest(Settings):
    """What can be settled of every task; the rest is inferred."""

    max_length: MaxLength | None = None
    """Word pieces per row, longer rows are cut; as many as the model takes by default, at most 512."""


class BaseTask(Settings):
    """A task with nothing left to guess."""

    READ: ClassVar[tuple[str, ...]]
    """The roles whose columns a model reads."""

    PREDICTS_PIECES: ClassVar[bool] = False
    """The answers are word pieces: each output is as wide as the vocabulary, and the labels are the text itself."""

    max_length: int
    judged_by: Literal["labels", "original"] = "labels"
    """What is right for the evaluation rows: their labels, or where they have none the original's answers."""

    @property
    def reads_pairs(self) -> bool:
        """Whether a model reads two texts as one row, which token types may tell apart."""
        return len(self.columns_read) > 1

    @property
    def usual_metrics(self) -> tuple[MetricName, ...]:
        """What can be measured of rows with labels, the usual metric first."""
        raise NotImplementedError

    @property
    def metrics(self) -> tuple[MetricName, ...]:
        """What can be measured, by default all of it; the first is the one that retention is about by default."""
        return self.usual_metrics if self.judged_by == "labels" else ("loyalty",)

    @property
    def has_label_loyalty(self) -> bool:
        """Whether two answers are the same or not; scores and embeddings are only more or less alike."""
        return True

    @property
    def roles(self) -> dict[str, str]:
        """The column of each role that has one."""
        columns: Settings = getattr(self, "columns")  # noqa: B009  # every task declares its own kind
        return columns.model_dump(exclude_none=True)

    @property
    def columns_read(self) -> list[str]:
        return [column for role, column in self.roles.items() if role in self.READ]

    def reading(self, split: Split, *, learns: bool) -> Reading:
        """What a model reads of a split, in training or to be measured."""
        pieces = pieces_in(split, self.columns_read) + SPECIAL_PIECES
        return Reading(split.rows, min(pieces, self.max_length))


def goodness(metric: MetricName, value: float) -> float:
    """A metric's value as one of which the higher is the better."""
    return -value if metric in LOWER_IS_BETTER else value


def check_columns(requested: Settings, splits: Splits, *optional: str) -> None:
    """Raises InputError where a column that was named is not there; those of `optional` roles may be in some splits."""
    for role, name in requested.model_dump(exclude_none=True).items():
        if role in optional and having(splits, name):
            continue
        for split_name, split in splits.items():
            if split.column(name) is None:
                known = ", ".join(c.name for c in split.columns)
                message = f"split {split_name!r} has no column {name!r}, only {known}"
                raise InputError(Problem("missing_column", message, f"/task/columns/{role}"))


def check_kind(splits: Splits, role: str, name: str, kinds: Iterable[ColumnKind]) -> None:
    """Raises InputError where a column holds something else than it should."""
    for split_name, column in columns_named(splits, name):
        if column.kind not in kinds:
            wanted = "lists" if "list" in kinds else "single values"
            message = f"column {name!r} of split {split_name!r} does not hold {wanted}"
            raise InputError(Problem("wrong_kind_of_column", message, f"/task/columns/{role}"))


def check_numbers(splits: Splits, role: str, name: str, code: str) -> None:
    """Raises InputError where a column of scores holds something else, or none to compute with; it may be empty."""
    for split_name, column in columns_named(splits, name):
        if column.kind not in ("integer", "number") and column.empty < splits[split_name].rows:
            message = f"column {name!r} of split {split_name!r} holds scores, and must hold numbers"
            raise InputError(Problem(code, message, f"/task/columns/{role}"))
        largest = max(column.minimum or 0, column.maximum or 0, key=abs)
        if abs(largest) > LARGEST_SCORE:
            message = (
                f"column {name!r} of split {split_name!r} holds {largest:g}, and scores can be as large as "
                f"{LARGEST_SCORE:g}: give them in a larger unit"
            )
            raise InputError(Problem("score_too_large", message, f"/task/columns/{role}"))


def columns_named(splits: Splits, name: str) -> Iterator[tuple[SplitName, Column]]:
    for split_name, split in splits.items():
        column = split.column(name)
        if column is None:
            known = ", ".join(c.name for c in split.columns)
            message = f"split {split_name!r} has no column {name!r}, only {known}"
            raise InputError(Problem("missing_column", message, "/task/columns"))
        yield split_name, column


def all_columns(splits: Splits) -> list[Column]:
    """The columns of all splits, each name once: rows to learn from may lack the labels that others have."""
    found: dict[str, Column] = {}
    for split in splits.values():
        for column in split.columns:
            found.setdefault(column.name, column)
    return list(found.values())


def having(splits: Splits, name: str) -> Splits:
    """The splits that have a column."""
    return {split_name: split for split_name, split in splits.items() if split.column(name)}


def judged_by(
    role: str, column: str | None, splits: Splits, evaluation: SplitName, *, rightly_empty: int = 0
) -> Literal["labels", "original"]:
    """Whether the evaluation rows have labels; in so many rows an empty value says all that there is to say.

    Raises:
        InputError: some have and some have not.
    """
    labels = splits[evaluation].column(column) if column else None
    if labels is None:
        return "original"
    missing, needed = labels.empty - rightly_empty, splits[evaluation].rows - rightly_empty
    if 0 < missing == needed:
        return "original"
    if missing > 0:
        message = (
            f"column {column!r} is empty in {missing} rows of {evaluation!r}: there the labels of all rows are "
            "needed, or of none, and then only agreement with the original is measured"
        )
        raise InputError(Problem("missing_labels", message, f"/task/columns/{role}"))
    return "labels"


def guess(role: str, candidates: Iterable[Column], *tests: Callable[[Column], bool]) -> str:
    """The one column that passes the first test that any column passes.

    Raises:
        InputError: none passes a test, or several pass the same.
    """
    fitting = best_fitting(candidates, *tests)
    if len(fitting) == 1:
        return fitting[0]
    raise uncertain(role, fitting)


def best_fitting(candidates: Iterable[Column], *tests: Callable[[Column], bool]) -> list[str]:
    """Names of the columns that pass the first test that any column passes."""
    columns = list(candidates)
    found = ([column.name for column in columns if test(column)] for test in tests)
    return next(filter(None, found), [])


def uncertain(role: str, candidates: list[str]) -> InputError:
    found = f"could be {', '.join(candidates)}" if candidates else "is not there"
    or_none = ", or set it to null where the rows have none" if role in LABEL_ROLES else ""
    message = f"the {role} column {found}: name it in task.columns.{role}{or_none}"
    return InputError(Problem(f"ambiguous_{role}_column", message, f"/task/columns/{role}"))


def resolve_max_length(requested: int | None, model: ModelFacts) -> int:
    if requested is not None and requested > model.max_length:
        message = f"the model takes at most {model.max_length} word pieces, not {requested}"
        raise InputError(Problem("max_length_too_large", message, "/task/max_length"))
    return requested or min(model.max_length, MOST_PIECES)


def resolve_labels(
    requested: dict[str, str] | None,
    role: str,
    column: str,
    model: ModelFacts,
    splits: Splits,
    holds: str = "holds",
) -> dict[str, int]:
    """The class id of each value, or of each item of the lists, of a column.

    Raises:
        InputError: a value is none of the model's labels.
    """
    values = sorted({value for split in splits.values() for value in _distinct(split, role, column) if value})
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
    message = f"column {column!r} {holds} {_quoted(wrong)}, which the model does not know; its labels are {known}{hint}"
    raise InputError(
        Problem("labels_do_not_match", message, "/task/labels" if requested else f"/task/columns/{role}")
    )


def may_be_labels(column: Column, model: ModelFacts) -> bool:
    return column.distinct is not None and set(column.distinct) <= set(model.labels)


def _distinct(split: Split, role: str, name: str) -> dict[str, int]:
    column = split.column(name)
    assert column is not None, "columns are checked before labels"
    place = f"/task/columns/{role}"
    if column.distinct is None:
        message = f"column {name!r} holds more than {MAX_DISTINCT} different values: it is no class label"
        raise InputError(Problem("no_label_column", message, place))
    return column.distinct


def _are_class_ids(values: list[str], labels: int) -> bool:
    return all(value.isascii() and value.isdigit() and int(value) < labels for value in values)


def _quoted(values: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(v) for v in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
