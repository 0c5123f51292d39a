"""CoNLL, CoNLL-U and lists in JSON lines: sentences as rows of lists, and problems with their lines."""

from pathlib import Path

import pytest

from compression.data.ingest import ingest_dataset, read_preview
from compression.data.problems import ProblemLog
from compression.data.readers import read_table
from tests.compression.data.test_readers import problems_of, read_bytes

UNIVERSAL = (
    "# text = Let's go\n"
    "1-2\tLet's\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tLet\tlet\tVERB\tVB\t_\t0\troot\t_\t_\n"
    "2\t's\twe\tPRON\tPRP\t_\t1\tnsubj\t_\t_\n"
    "2.1\tto\tto\tPART\tTO\t_\t_\t_\t_\t_\n"
    "3\tgo\tgo\tVERB\tVB\t_\t1\txcomp\t_\t_\n\n"
)
GOOD = {
    "tabs": (".conll", "Ada\tB-per\nsleeps\tO\n\n#\tO\n", [("Ada", "sleeps"), ("#",)], [("B-per", "O"), ("O",)]),
    "four columns": (
        ".conll", "-DOCSTART- -X- -X- O\n\nAda NNP B-NP B-per\n\t\n\n\nis VB O O\n",
        [("Ada",), ("is",)], [("B-per",), ("O",)]),
    "universal": (".conllu", UNIVERSAL, [("Let", "'s", "go")], [("root", "nsubj", "xcomp")]),
    "only words": (".conll", "Ada\nsleeps\n\n\nBob\n", [("Ada", "sleeps"), ("Bob",)], [("Ada", "sleeps"), ("Bob",)]),
    "lists": (".jsonl", '{"tokens": ["a", "b"], "tags": [0, 1]}\n{"tokens": null, "tags": []}\n',
              [("a", "b"), ()], [("0", "1"), ()]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_words_come_in_the_first_column_and_tags_in_the_last(case: str, tmp_path: Path) -> None:
    suffix, content, tokens, tags = GOOD[case]
    columns, rows = read_bytes(content, suffix, tmp_path)
    assert columns[0] == "tokens"
    assert [row[0] for row in rows] == tokens
    assert [row[-1] for row in rows] == tags


BAD = {
    "a field too few": (".conll", "Ada\tB-per\nsleeps\n", [("wrong_number_of_columns", "2")]),
    "no tag": (
        ".conll", "Ada\tO\nis\t\n\na\tO\tO\n", [("wrong_number_of_columns", "2"), ("wrong_number_of_columns", "4")]),
    "nothing": (".conll", "\n\n", [("empty_file", "")]),
    "not ten columns": (".conllu", UNIVERSAL + "1\tthen\n", [("wrong_number_of_columns", "8")]),
    "a list and no list": (
        ".jsonl", '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": "a", "tags": ["O"]}\n', [("unsupported_value", "2")]),
    "lists of lists": (
        ".jsonl", '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": [["a"]], "tags": []}\n', [("unsupported_value", "2")]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_with_its_line(case: str, tmp_path: Path) -> None:
    suffix, content, problems = BAD[case]
    assert problems_of(content, suffix, tmp_path) == problems


def test_lists_are_kept_as_lists(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("Ada\tB-per\nsleeps\tO\n\nBob\tB-per\n")
    summary = ingest_dataset({"train": tmp_path / "train.conll"}, tmp_path / "out", None, 0)
    tokens, tags = summary.splits["train"].columns
    assert (tags.kind, tags.distinct) == ("list", {"B-per": 2, "O": 1})
    assert (tokens.lengths.max, tokens.lengths.mean) == (2, 1.5)
    assert read_preview(tmp_path / "out", "train", 1) == [
        {"tokens": ["Ada", "sleeps"], "tags": ["B-per", "O"]}
    ]


def test_a_sentence_without_end_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("a\tO\n" * 140_000)
    with pytest.raises(Exception, match="empty line after each"):
        list(read_table(tmp_path / "rows.conll", ProblemLog()).batches)
