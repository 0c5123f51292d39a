"""Datasets are taken in whole or not at all, and read back as they were."""

import os
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest

from compression.data.ingest import ingest_dataset, read_preview, read_split
from compression.data.summary import DatasetSummary, SplitName
from compression.errors import InputError

SHARED = Path(os.environ.get("PLANKWRIGHT_SHARED", Path(__file__).parents[4] / "shared"))
needs_real_data = pytest.mark.skipif(
    not (SHARED / "data").is_dir(), reason="the folder with real data is not there"
)

ROWS = [(f"text {i}", str(i % 2)) for i in range(200)]


def tsv(path: Path, rows: Iterable[tuple[str, ...]], header: str = "text\tlabel") -> Path:
    path.write_text("\n".join([header, *map("\t".join, rows)]) + "\n", "utf-8")
    return path


def test_keeps_rows_and_summary(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text('label,text\n1,"text 1"\n0,"new, row"\n0,\n', "utf-8")
    files: dict[SplitName, Path] = {
        "validation": tmp_path / "dev.csv",
        "train": tsv(tmp_path / "a.tsv", [*ROWS, ROWS[0]]),
    }
    summary = ingest_dataset(files, tmp_path / "out", None, 0)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "train.parquet",
        "validation.parquet",
        "dataset.json",
    }
    assert DatasetSummary.model_validate_json((tmp_path / "out" / "dataset.json").read_bytes()) == summary
    assert list(summary.splits) == ["train", "validation"]
    train = summary.splits["train"]
    assert (train.rows, train.duplicates, [column.name for column in train.columns]) == (
        201,
        1,
        ["text", "label"],
    )
    assert summary.leaked_rows == {"validation": 1}
    assert summary.warnings == [
        "1 of 201 rows of train repeat an earlier one",
        "1 of 3 rows of validation (33.3%) also stand in train",
        "validation has only 3 rows: what is measured on it is uncertain",
        "column 'text' is empty in 1 of 3 rows of validation",
    ]
    table = read_split(tmp_path / "out", "train")
    assert list(zip(*(table.column(name).to_pylist() for name in ("text", "label")), strict=True)) == [
        *ROWS,
        ROWS[0],
    ]
    assert read_preview(tmp_path / "out", "validation", 2) == [
        {"label": "1", "text": "text 1"},
        {"label": "0", "text": "new, row"},
    ]


def test_other_columns_in_a_split(tmp_path: Path) -> None:
    files: dict[SplitName, Path] = {
        "train": tsv(tmp_path / "a.tsv", ROWS),
        "test": tsv(tmp_path / "b.tsv", ROWS, "id\ttext"),
    }
    summary = ingest_dataset(files, tmp_path / "out", None, 0)
    assert summary.leaked_rows == {}
    assert (
        "test has other columns than train, so rows that stand in both were not looked for"
        in summary.warnings
    )


def test_the_same_input_gives_the_same_files(tmp_path: Path) -> None:
    file = tsv(tmp_path / "a.tsv", ROWS)
    for out in ("one", "two"):
        ingest_dataset({"train": file}, tmp_path / out, {"train": 0.8, "test": 0.2}, seed=3)
    for name in ("train.parquet", "test.parquet", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_deals_every_row_to_one_split(tmp_path: Path) -> None:
    rows = [(f"text {i}", str(i)) for i in range(40_000)]
    ratios: dict[SplitName, float] = {"train": 0.7, "validation": 0.2, "test": 0.1}
    summary = ingest_dataset({"train": tsv(tmp_path / "a.tsv", rows)}, tmp_path / "out", ratios, seed=3)
    assert {name: split.rows for name, split in summary.splits.items()} == {
        "train": 28_000, "validation": 8_000, "test": 4_000}  # fmt: skip
    dealt = [[int(str(value)) for value in read_split(tmp_path / "out", name)["label"]] for name in ratios]
    assert sorted(chain.from_iterable(dealt)) == list(range(40_000))
    assert all(split == sorted(split) for split in dealt), "rows keep their order"
    assert summary.leaked_rows == {"validation": 0, "test": 0}


BAD: dict[str, tuple[dict[str, str], dict[SplitName, float] | None, list[tuple[str, str]]]] = {
    "no train file": ({"test": "text\tlabel\na\t1\n"}, None, [("missing_train_file", "train")]),
    "shares of two files": (
        {"train": "text\tlabel\na\t1\n", "test": "text\tlabel\na\t1\n"}, {"train": 0.5, "test": 0.5},
        [("invalid_split", "split")]),
    "wrong shares": ({"train": "text\tlabel\na\t1\n"}, {"train": 0.5}, [("invalid_split", "split")]),
    "too few rows to share": (
        {"train": "text\tlabel\na\t1\n"}, {"train": 0.9, "test": 0.1}, [("too_few_rows", "split")]),
    "no rows": ({"train": "text\tlabel\n"}, None, [("no_rows", "train.tsv")]),
    "no rows to share": ({"train": "text\tlabel\n"}, {"train": 0.9, "test": 0.1}, [("no_rows", "train.tsv")]),
    "an empty file after a good one": (
        {"train": "text\tlabel\na\t1\n", "test": ""}, None, [("empty_file", "test.tsv")]),
    "problems of all files": (
        {"train": "text\tlabel\na\n", "validation": "text\tlabel\na\t1\nb\n", "test": "text\tlabel\na\t1\n"}, None,
        [("wrong_number_of_columns", "train.tsv:2"), ("wrong_number_of_columns", "validation.tsv:3")]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    contents, ratios, expected = BAD[case]
    files: dict[SplitName, Path] = {}
    for name, content in contents.items():
        files[name] = tmp_path / f"{name}.tsv"  # type: ignore[index]
        files[name].write_text(content, "utf-8")  # type: ignore[index]
    with pytest.raises(InputError) as caught:
        ingest_dataset(files, tmp_path / "out", ratios, 0)
    assert [(problem.code, problem.place) for problem in caught.value.problems] == expected
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@needs_real_data
def test_sst2(tmp_path: Path) -> None:
    data = SHARED / "data" / "sst2"
    summary = ingest_dataset({"train": data / "train.tsv", "validation": data / "dev.tsv"}, tmp_path, None, 0)
    train, validation = summary.splits["train"], summary.splits["validation"]
    assert (train.rows, validation.rows) == (67_349, 872)
    label = train.column("label")
    assert label is not None
    assert (label.kind, label.distinct) == ("integer", {"1": 37_569, "0": 29_780})
    assert read_preview(tmp_path, "validation", 1)[0]["label"] == "1"


@needs_real_data
def test_mrpc_whose_quotes_merge_rows_elsewhere(tmp_path: Path) -> None:
    data = SHARED / "data" / "mrpc"
    files: dict[SplitName, Path] = {}
    for split in ("train", "test"):
        files[split] = tmp_path / f"{split}.tsv"
        shutil.copyfile(data / f"msr_paraphrase_{split}.txt", files[split])
    summary = ingest_dataset(files, tmp_path / "out", None, 0)
    assert {name: split.rows for name, split in summary.splits.items()} == {"train": 4_076, "test": 1_725}
    quality = summary.splits["train"].column("Quality")
    assert quality is not None
    assert quality.distinct == {"1": 2_753, "0": 1_323}


@needs_real_data
def test_stsb_whose_csv_has_tabs_and_no_header(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ingest_dataset({"train": SHARED / "data" / "stsb" / "sts-train.csv"}, tmp_path / "a", None, 0)
    assert caught.value.problems
    lines = (SHARED / "data" / "stsb" / "sts-train.csv").read_text("utf-8").splitlines()
    rows = [tuple(line.split("\t")[4:7]) for line in lines]
    file = tsv(tmp_path / "train.tsv", rows, "score\tsentence1\tsentence2")
    score = ingest_dataset({"train": file}, tmp_path / "b", None, 0).splits["train"].column("score")
    assert score is not None
    assert (score.kind, score.minimum, score.maximum) == ("number", 0.0, 5.0)
