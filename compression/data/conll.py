"""CoNLL and CoNLL-U: one word a line, an empty line after each sentence. A sentence becomes a row of lists."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from compression.data.lines import clean_lines
from compression.data.problems import ProblemLog
from compression.data.table import MAX_FIELD, Record, Table, check_columns, in_batches

Word = tuple[int, list[str]]
"""The number of a line and its fields; none for an empty line."""

DOCUMENT_MARK = "-DOCSTART-"
UNIVERSAL = {"tokens": 1, "lemmas": 2, "upos": 3, "xpos": 4, "deprels": 7}
"""Columns that are read of CoNLL-U, and their position."""
UNIVERSAL_FIELDS = 10


def read_conll(path: Path, log: ProblemLog) -> Table:
    """Words in the first column, tags in the last; fields stand apart by tabs, or by spaces where a line has no tab."""
    words = _words(path, log)
    first = next((word for word in words if word[1]), None)
    if first is None:
        log.raise_if_any()
        log.stop("empty_file", "the file holds no word", path.name)
    fields = len(first[1])
    columns = ["tokens", *(f"column_{position}" for position in range(2, fields)), "tags"][:fields]
    return _table(chain([first], words), columns, path, log)


def read_conllu(path: Path, log: ProblemLog) -> Table:
    """Five of the ten columns; comments, ranges of words (`1-2`) and empty nodes (`1.1`) are left out."""
    return _table(_universal_words(path, log), list(UNIVERSAL), path, log)


def _words(path: Path, log: ProblemLog) -> Iterator[Word]:
    for number, line in clean_lines(path, log):
        text = line.rstrip("\r\n")
        fields = (text.split("\t") if "\t" in text else text.split()) if text.strip() else []
        yield number, [] if fields[:1] == [DOCUMENT_MARK] else fields


def _universal_words(path: Path, log: ProblemLog) -> Iterator[Word]:
    for number, line in clean_lines(path, log):
        if line.startswith("#"):
            continue
        fields = line.rstrip("\r\n").split("\t") if line.strip() else []
        if fields and len(fields) != UNIVERSAL_FIELDS:
            message = f"CoNLL-U has {UNIVERSAL_FIELDS} columns set apart by tabs, {len(fields)} were found"
            log.add("wrong_number_of_columns", message, f"{path.name}:{number}")
        elif not fields or fields[0].isdecimal():
            yield number, [fields[position] for position in UNIVERSAL.values()] if fields else []


def _table(words: Iterable[Word], columns: list[str], path: Path, log: ProblemLog) -> Table:
    check_columns(columns, path.name, log)
    sentences = _sentences(words, columns, path.name, log)
    first = next(sentences, None)
    if first is None:
        log.add("no_rows", "the file holds no sentence that could be read", path.name)
    rows = sentences if first is None else chain([first], sentences)
    return Table(columns, in_batches(rows, columns, path.name, log), frozenset(columns))


def _sentences(words: Iterable[Word], columns: list[str], file: str, log: ProblemLog) -> Iterator[Record]:
    start, sentence = 0, list[list[str]]()
    for number, fields in chain(words, [(0, [])]):
        if not fields:
            if sentence:
                yield start, list(zip(*sentence, strict=True))
            sentence = []
        elif len(fields) != len(columns) or "" in fields:
            message = f"the first word has {len(columns)} fields, none of them empty; this line has {str(fields)[:100]}"
            log.add("wrong_number_of_columns", message, f"{file}:{number}")
        else:
            start = start if sentence else number
            sentence.append(fields)
            if len(sentence) > MAX_FIELD:
                message = f"a sentence has more than {MAX_FIELD} words: is there an empty line after each?"
                log.stop("field_too_long", message, f"{file}:{start}")
