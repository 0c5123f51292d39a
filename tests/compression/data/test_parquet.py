"""Parquet: simple types become the same text as in the other formats; the rest is refused before it costs anything."""

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compression.data.problems import ProblemLog
from compression.data.readers import read_table
from compression.errors import InputError


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def read(path: Path) -> list[tuple[str, ...]]:
    return [row for batch in read_table(path, ProblemLog()).batches for row in zip(*batch, strict=True)]


def problem_of(path: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read(path)
    return caught.value.code, caught.value.problems[0].place


KINDS: dict[str, tuple[Any, list[str]]] = {
    "text": (["a", "", None], ["a", "", ""]),
    "large text": (pa.array(["a", "é", None], pa.large_string()), ["a", "é", ""]),
    "text by view": (pa.array(["a", "é", None], pa.string_view()), ["a", "é", ""]),
    "dictionary": (pa.array(["a", "a", None]).dictionary_encode(), ["a", "a", ""]),
    "integers": ([1, -2, None], ["1", "-2", ""]),
    "small integers": (pa.array([1, 255, None], pa.uint8()), ["1", "255", ""]),
    "numbers": ([1.0, 0.1, None], ["1.0", "0.1", ""]),
    "single precision": (pa.array([1.0, 0.1, None], pa.float32()), ["1.0", "0.1", ""]),
    "half precision": (pa.array([1.0, 0.5, None], pa.float16()), ["1.0", "0.5", ""]),
    "truth values": ([True, False, None], ["true", "false", ""]),
    "nothing": (pa.nulls(3), ["", "", ""]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_reads(kind: str, tmp_path: Path) -> None:
    values, texts = KINDS[kind]
    path = write(tmp_path / "rows.parquet", {"key": ["x", "y", "z"], "value": values})
    assert read(path) == list(zip("xyz", texts, strict=True))


UNSUPPORTED = {
    "list": pa.array([[1]]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "bytes": pa.array([b"a"]),
    "time": pa.array([1], pa.timestamp("s")),
    "date": pa.array([1], pa.date32()),
    "decimal": pa.array([1], pa.decimal128(10, 2)),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_refuses_other_types(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {"key": ["x"], "value": UNSUPPORTED[kind]})
    with pytest.raises(InputError, match=r"rows\.parquet: column 'value' is of type") as caught:
        read(path)
    assert caught.value.code == "unsupported_column_type"


def test_reads_many_rows_in_order(tmp_path: Path) -> None:
    texts = [f"text {i % 7919}" for i in range(30_000)]
    path = write(tmp_path / "rows.parquet", {"a": texts, "b": range(30_000)}, row_group_size=7_000)
    assert read(path) == [(text, str(i)) for i, text in enumerate(texts)]


@pytest.mark.parametrize("part", ["head", "data", "foot", "end"])
def test_refuses_damage(part: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {"a": [f"{i}" for i in range(2000)], "b": range(2000)})
    content = bytearray(path.read_bytes())
    start = {"head": 0, "data": 30, "foot": len(content) - 100, "end": len(content) - 8}[part]
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    code, place = problem_of(path)
    assert code == "damaged_parquet"
    assert place.startswith("rows.parquet")


def test_refuses_text_that_is_no_utf8(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.parquet", {"a": ["good text"], "b": ["x"]}, use_dictionary=False, compression="none"
    )
    path.write_bytes(path.read_bytes().replace(b"good text", b"\xff\xfe  text"))
    assert problem_of(path)[0] == "damaged_parquet"


def test_refuses_nul(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {"a": ["x", "y\0"], "b": [1, 2]})
    assert problem_of(path) == ("nul_character", "rows.parquet: rows 0 to 1")


@pytest.mark.parametrize("length", [131_073, 10_000_000])
def test_refuses_endless_values(length: int, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {"a": ["x", "y" * length], "b": [1, 2]})
    assert problem_of(path) == ("field_too_long", "rows.parquet: rows 0 to 1")


def test_refuses_a_bomb(tmp_path: Path) -> None:
    """A file of some kilobytes that would be many gigabytes of text."""
    repeated = pa.DictionaryArray.from_arrays(
        pa.array([0] * 1_000_000, pa.int32()), pa.array(["x" * 100_000])
    )
    path = write(tmp_path / "rows.parquet", {"a": repeated, "b": repeated})
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    try:
        code, _ = problem_of(path)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert code == "parquet_bomb"


def test_refuses_no_rows(tmp_path: Path) -> None:
    assert problem_of(write(tmp_path / "rows.parquet", {"a": [], "b": []})) == ("no_rows", "rows.parquet")


def test_refuses_many_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {f"c{i}": [1] for i in range(101)})
    assert problem_of(path) == ("too_many_columns", "rows.parquet")


def test_refuses_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"]), path)
    assert problem_of(path) == ("duplicate_column_name", "rows.parquet")
