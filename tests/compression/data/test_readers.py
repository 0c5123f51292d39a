"""The formats agree on what they hold; what is wrong is told with its line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.data.lines import MAX_LINE_BYTES
from compression.data.problems import ProblemLog
from compression.data.readers import read_table
from compression.data.table import BATCH_ROWS, MAX_FIELD
from compression.errors import InputError

Rows = list[tuple[Any, ...]]


def read(path: Path) -> tuple[list[str], Rows]:
    """Columns and rows of a file without problems."""
    log = ProblemLog()
    table = read_table(path, log)
    rows = [row for batch in table.batches for row in zip(*batch, strict=True)]
    log.raise_if_any()
    return table.columns, rows


def read_bytes(content: bytes | str, suffix: str, folder: Path) -> tuple[list[str], Rows]:
    path = folder / f"rows{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path)


def problems_of(content: bytes | str, suffix: str, folder: Path) -> list[tuple[str, str]]:
    """Code and line of every problem."""
    with pytest.raises(InputError) as caught:
        read_bytes(content, suffix, folder)
    found = [(problem.code, problem.place) for problem in caught.value.problems]
    assert all(place.startswith(f"rows{suffix}") for _, place in found)
    assert all(problem.message.isprintable() for problem in caught.value.problems)
    return [(code, place.removeprefix(f"rows{suffix}").lstrip(":")) for code, place in found]


GOOD: dict[str, tuple[str, bytes | str, Rows]] = {
    "tsv": (".tsv", "text\tlabel\ngood\t1\nbad \t0\n", [("good", "1"), ("bad ", "0")]),
    "without a last line end": (".tsv", "text\tlabel\ngood\t1\nbad \t0", [("good", "1"), ("bad ", "0")]),
    "empty lines at the end": (".tsv", "text\tlabel\ngood\t1\n\n\r\n\n", [("good", "1")]),
    "Windows line ends": (".tsv", "text\tlabel\r\ngood\t1\r\n", [("good", "1")]),
    "byte-order mark": (".tsv", b"\xef\xbb\xbftext\tlabel\ngood\t1\n", [("good", "1")]),
    "tsv with lone quotes": (".tsv", 'text\tlabel\n"so\t1\n6" disc"\t0\n', [('"so', "1"), ('6" disc"', "0")]),
    "tsv with empty values": (".tsv", "text\tlabel\n\t\n\t1\n", [("", ""), ("", "1")]),
    "line separators of Unicode": (".tsv", "text\tlabel\na\u2028b\x0bc\x85\t1\n", [("a\u2028b\x0bc\x85", "1")]),
    "upper-case extension": (".TSV", "text\tlabel\ngood\t1\n", [("good", "1")]),
    "csv": (".csv", "text,label\ngood,1\n", [("good", "1")]),
    "csv with quotes": (
        ".csv", 'text,label\n"a, b",1\n"say ""x""",0\n"",\n', [("a, b", "1"), ('say "x"', "0"), ("", "")]),
    "csv with lines in values": (
        ".csv", 'text,label\n"one\n\ntwo\r\n",1\nthree,0\n', [("one\n\ntwo\r\n", "1"), ("three", "0")]),
    "csv with tabs": (".csv", "text,label\na\tb,1\n", [("a\tb", "1")]),
    "csv with formulas": (".csv", "text,label\n=1+1,@x\n", [("=1+1", "@x")]),
    "jsonl": (
        ".jsonl", '{"text": "good", "label": 1}\n{"label": 0, "text": "bad"}\n', [("good", "1"), ("bad", "0")]),
    "jsonl with all kinds": (
        ".jsonl", '{"text": "\\u00e9\\n", "label": 0.10}\n{"text": null, "label": true}\n{"text": "", "label": -1e3}\n',
        [("é\n", "0.1"), ("", "true"), ("", "-1000.0")]),
    "longest value": (".tsv", f"text\tlabel\n{'x' * MAX_FIELD}\t1\n", [("x" * MAX_FIELD, "1")]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_reads(case: str, tmp_path: Path) -> None:
    suffix, content, rows = GOOD[case]
    assert read_bytes(content, suffix, tmp_path) == (["text", "label"], rows)


def test_lines_of_text_are_rows_and_empty_ones_are_not(tmp_path: Path) -> None:
    content = '\n a, b\tc \r\n  \n"d\n'
    assert read_bytes(content, ".txt", tmp_path) == (["text"], [(" a, b\tc ",), ('"d',)])


def test_a_folder_is_read_as_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    assert folder_problem(folder) == ("no_files", "texts")
    (folder / "notes.md").write_text("no table")
    (folder / "b.txt").write_text("two\nthree\n")
    (folder / "a.csv").write_text("text\none\n")
    assert read(folder) == (["text"], [("one",), ("two",), ("three",)])
    (folder / "c.jsonl").write_text('{"title": "four"}\n')
    assert folder_problem(folder) == ("different_columns", "c.jsonl")
    (folder / "c.jsonl").write_text("")
    assert folder_problem(folder) == ("empty_file", "c.jsonl")


def folder_problem(folder: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read(folder)
    return caught.value.problems[0].code, caught.value.problems[0].place


BAD: dict[str, tuple[str, bytes | str, list[tuple[str, str]]]] = {
    "other format": (".xlsx", "x", [("unknown_format", "")]),
    "no extension": ("", "x", [("unknown_format", "")]),
    "empty tsv": (".tsv", "", [("empty_file", "")]),
    "empty txt": (".txt", "\n \n", [("empty_file", "")]),
    "txt that is not UTF-8": (".txt", b"x\n\xe9\n", [("not_utf8", "2")]),
    "empty csv": (".csv", "\n\n", [("empty_file", "")]),
    "empty jsonl": (".jsonl", "", [("empty_file", "")]),
    "byte-order mark only": (".tsv", b"\xef\xbb\xbf", [("empty_file", "")]),
    "not UTF-8": (".tsv", b"text\tlabel\ngood\t1\ncaf\xe9\t0\n", [("not_utf8", "3")]),
    "not UTF-8 in jsonl": (".jsonl", b'{"a": "x", "b": 1}\n{"a": "\xe9", "b": 1}\n', [("not_utf8", "2")]),
    "UTF-16": (
        ".csv", "text,label\n".encode("utf-16"),
        [("nul_character", "1"), ("not_utf8", "1"), ("invalid_column_name", "1"), ("invalid_column_name", "1")]),
    "NUL": (".csv", "text,label\na\0b,1\n", [("nul_character", "2")]),
    "lone carriage return": (".tsv", "text\tlabel\na\rb\t1\nc\t\r\r\n", [
        ("bare_carriage_return", "2"), ("bare_carriage_return", "3")]),
    "old Mac file": (".csv", "text,label\ra,1\r", [("bare_carriage_return", "1"), ("no_rows", "")]),
    "too few columns in a row": (".tsv", "text\tlabel\ngood\n", [("wrong_number_of_columns", "2")]),
    "too many columns in a row": (".csv", "text,label\na,b,c\n", [("wrong_number_of_columns", "2")]),
    "empty line within": (".tsv", "text\tlabel\na\t1\n\nb\t1\n", [("wrong_number_of_columns", "3")]),
    "empty line within csv": (".csv", "text,label\na,1\n\nb,1\n", [("wrong_number_of_columns", "3")]),
    "lines after a value of several": (
        ".csv", 'text,label\n"a\nb\nc",1\nd\n', [("wrong_number_of_columns", "5")]),
    "quote never closed": (".csv", 'text,label\na,1\n"b,0\nc,1\n', [("unclosed_quote", "3")]),
    "quote never closed in much": (".csv", 'text,label\n"b,0\n' + "c,1\n" * 50_000, [("field_too_long", "2")]),
    "text after a quote": (".csv", 'text,label\n"a"b,0\n', [("malformed_quote", "2")]),
    "header twice": (".tsv", "text\ttext\na\t1\n", [("duplicate_column_name", "1")]),
    "header without a name": (".csv", "text, \na,1\n", [("empty_column_name", "1")]),
    "header with control characters": (".csv", "text,a\x1bb\na,1\n", [("invalid_column_name", "1")]),
    "endless header": (".csv", f"text,{'x' * 201}\na,1\n", [("invalid_column_name", "1")]),
    "semicolons": (".csv", "text;label\ngood;1\n", [("too_few_columns", "1")]),
    "many columns": (".csv", ",".join(map(str, range(101))) + "\n", [("too_many_columns", "1")]),
    "endless value": (".tsv", f"text\tlabel\n{'x' * (MAX_FIELD + 1)}\t1\n", [("field_too_long", "2")]),
    "endless value in jsonl": (
        ".jsonl", json.dumps({"a": "x" * (MAX_FIELD + 1), "b": 1}), [("field_too_long", "1")]),
    "endless line": (".tsv", "text\tlabel\n" + "x" * (MAX_LINE_BYTES + 1), [("line_too_long", "2")]),
    "no rows": (".tsv", "text\tlabel\n\n", [("no_rows", "")]),
    "no JSON": (".jsonl", "{'a': 1, 'b': 2}\n", [("invalid_json", "1")]),
    "JSON of several lines": (".jsonl", '{"a": 1,\n"b": 2}\n', [("invalid_json", "1"), ("invalid_json", "2")]),
    "a list": (".jsonl", '[{"a": 1, "b": 2}]\n', [("invalid_json", "1")]),
    "a key twice": (".jsonl", '{"a": 1, "b": 2, "a": 3}\n', [("invalid_json", "1")]),
    "NaN": (".jsonl", '{"a": NaN, "b": 2}\n', [("invalid_json", "1")]),
    "deep JSON": (".jsonl", '{"a": ' + "[" * 200_000 + "\n", [("invalid_json", "1")]),
    "missing key": (".jsonl", '{"a": 1, "b": 2}\n{"a": 1}\n', [("different_keys", "2")]),
    "new key": (".jsonl", '{"a": 1, "b": 2}\n{"a": 1, "b": 2, "c\\ud800\\n": 3}\n', [("different_keys", "2")]),
    "nested list": (".jsonl", '{"a": 1, "b": 2}\n{"a": [1], "b": 2}\n', [("unsupported_value", "2")]),
    "nested object": (".jsonl", '{"a": 1, "b": {"c": 2}}\n', [("unsupported_value", "1")]),
    "NUL by escape": (".jsonl", '{"a": "\\u0000", "b": 2}\n', [("unsupported_value", "1")]),
    "half a character": (".jsonl", '{"a": "\\ud800", "b": 2}\n', [("unsupported_value", "1")]),
    "Parquet by name": (".parquet", "text\tlabel\n", [("damaged_parquet", "")]),
    "empty Parquet": (".parquet", "", [("damaged_parquet", "")]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case: str, tmp_path: Path) -> None:
    suffix, content, expected = BAD[case]
    assert problems_of(content, suffix, tmp_path) == expected


def test_tells_the_expected_and_the_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.tsv:3: 2 columns are expected, 3 were found"):
        read_bytes("text\tlabel\na\t1\nb\t0\t1\n", ".tsv", tmp_path)


def test_tells_the_separator(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="semicolons"):
        read_bytes("text;label\ngood;1\n", ".csv", tmp_path)


def test_stops_at_twenty_problems(tmp_path: Path) -> None:
    found = problems_of("text\tlabel\n" + "only text\n" * 500, ".tsv", tmp_path)
    assert found == [("wrong_number_of_columns", str(line)) for line in range(2, 22)]


def test_reads_more_than_one_batch(tmp_path: Path) -> None:
    rows = [(f"row {i}", str(i % 3)) for i in range(2 * BATCH_ROWS + 5)]
    content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
    assert read_bytes(content, ".tsv", tmp_path)[1] == rows


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)
TABLES = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=10)


@settings(max_examples=100, deadline=None)
@given(rows=TABLES)
def test_reads_back_what_others_wrote(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("text", "label"), *rows])
    assert read_bytes(buffer.getvalue(), ".csv", folder) == (["text", "label"], rows)
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    assert read_bytes(lines, ".jsonl", folder) == (["text", "label"], rows)
    plain = [tuple(value.translate({9: " ", 10: " "}) for value in row) for row in rows]
    tabs = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in plain)
    assert read_bytes(tabs, ".tsv", folder) == (["text", "label"], plain)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_any_bytes_are_read_or_refused(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    try:
        columns, rows = read_bytes(b"text,\tlabel\n" + content, suffix, folder)
    except InputError as error:
        places = [problem.place for problem in error.problems]
        columns, rows = ["", ""], [("", place) for place in places]
    assert all(len(row) == len(columns) for row in rows)


def test_texts_without_labels_are_a_single_column(tmp_path: Path) -> None:
    assert read_bytes("text\ngood\n", ".tsv", tmp_path) == (["text"], [("good",)])
