"""Which columns of a corpus hold its texts."""

from collections.abc import Sequence

from compression.data.summary import DatasetSummary
from compression.errors import InputError, Problem
from compression.tasks.columns import BaseTask, best_fitting
from compression.tasks.texts import TEXT_TESTS, of_text


def columns_of_texts(asked: Sequence[str] | None, corpus: DatasetSummary, task: BaseTask) -> list[str]:
    """Those asked for, those that the task reads, or the one that holds text.

    Raises:
        InputError: there is none, or several could be it; the place is one below the step.
    """
    split = corpus.splits["train"]
    columns = {column.name: column for column in split.columns if column.kind != "list"}
    full = [column for column in columns.values() if column.empty < split.rows]
    wanted = list(asked or task.columns_read)
    if asked and (missing := [name for name in wanted if name not in columns]):
        message = (
            f"the corpus has no column {missing[0]!r} of single values, only {', '.join(columns) or 'lists'}"
        )
        raise InputError(Problem("missing_column", message, "/corpus_columns"))
    if not set(wanted) <= columns.keys():
        wanted = best_fitting(of_text(full), *TEXT_TESTS)
        if len(wanted) > 1:
            message = f"the texts of the corpus could be in {', '.join(wanted)}: name the columns that count"
            raise InputError(Problem("ambiguous_corpus_columns", message, "/corpus_columns"))
    if not {column.name for column in full} & set(wanted):
        message = (
            f"the corpus holds no text in {', '.join(wanted or (column.name for column in split.columns))}"
        )
        raise InputError(Problem("no_text", message, "/corpus"))
    return wanted
