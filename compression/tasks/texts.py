"""Which columns hold the texts of rows: one, or the two of a pair."""

from collections.abc import Callable, Iterable

from compression.data.summary import Column
from compression.errors import InputError, Problem
from compression.settings import Settings
from compression.tasks.columns import Splits, all_columns, check_kind, columns_named, guess, uncertain

PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text", "text_pair"), ("text1", "text2"), ("query", "passage"),
)  # fmt: skip
TEXT_NAMES = ("text", "sentence")
TEXT_TESTS: tuple[Callable[[Column], bool], ...] = (
    lambda column: column.name.lower() in TEXT_NAMES,
    lambda column: column.distinct is None,
    lambda column: True,
)
"""For `guess`: what tells the one column of texts among several columns of text."""


def of_text(columns: Iterable[Column]) -> list[Column]:
    """Those of texts; one that is called so may have nothing but numbers for texts."""
    return [
        column
        for column in columns
        if column.kind == "text" or (column.kind != "list" and column.name.lower() in TEXT_NAMES)
    ]


def only_texts(columns: Iterable[Column]) -> bool:
    """Whether these are the texts of rows and nothing else."""
    return {column.name.lower() for column in columns} in (
        *({name} for name in TEXT_NAMES),
        *map(set, PAIR_NAMES),
    )


def settle_texts(
    text: str | None, pair: str | None, columns: list[Column], *others: str | None
) -> tuple[str, str | None]:
    """The column of texts, and that of second texts where there is one: those asked for, or else a guess.

    `others` are known to be something else.

    Raises:
        InputError: none or several could be it.
    """
    if text is not None:
        return text, pair
    names = {c.name.lower(): c.name for c in columns if c.name not in (pair, *others)}
    for first, second in PAIR_NAMES:
        if first in names and second in names:
            return names[first], pair or names[second]
    texts = [c.name for c in of_text(columns) if c.name in names.values()]
    if len(texts) != 1:
        raise uncertain("text", texts)
    return texts[0], pair


class RequestedTexts(Settings):
    text: str | None = None


class Texts(Settings):
    text: str


def resolve_texts(requested: RequestedTexts, used: Splits) -> Texts:
    """The column of the texts that a language model learns from.

    Raises:
        InputError: none or several could be it, or a split has nothing in it.
    """
    name = requested.text or guess("text", of_text(all_columns(used)), *TEXT_TESTS)
    check_kind(used, "text", name, ("text", "integer", "number"))
    for split, column in columns_named(used, name):
        if column.empty == used[split].rows:
            message = f"column {name!r} of split {split!r} is empty: there is nothing to learn from or to measure by"
            raise InputError(Problem("no_text", message, "/task/columns/text"))
    return Texts(text=name)
