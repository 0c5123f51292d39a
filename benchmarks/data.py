"""Models and rows of the benchmarks, from the folder of real data that lies beside the project.

What is derived from it, files of rows and fine-tuned checkpoints, goes to a cache folder outside the project.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import Tokenizer

from compression.data.conll import read_conll, read_conllu
from compression.data.problems import ProblemLog
from compression.data.squad import read_squad
from compression.data.table import Table, Value

SharedOption = Annotated[
    Path,
    typer.Option("--shared", envvar="PLANKWRIGHT_SHARED", help="Folder with data/, models/ and tools/."),
]
CacheOption = Annotated[
    Path,
    typer.Option(
        "--cache", envvar="PLANKWRIGHT_BENCHMARK_CACHE", help="Folder for tsv files, models and runs."
    ),
]
SHARED = Path(__file__).parents[2] / "shared"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plankwright-benchmarks"


class Task(StrEnum):
    """The name of each is that of its folder."""

    SST2 = "sst2"
    MRPC = "mrpc"
    STSB = "stsb"
    WNUT17 = "wnut17"
    POS = "ud-english-ewt"
    SQUAD = "squad"


CUT_FOR_VALIDATION = {Task.MRPC: 408, Task.POS: 400, Task.SQUAD: 500}
"""Training rows of tasks that have no validation rows of their own; of MRPC as many as GLUE cuts.

The original has learnt from them: they choose weights, and what is left of its quality is measured on other rows.
"""
FINETUNING = {
    Task.MRPC: ["--task", "mrpc", "--epochs", "5", "--lr", "1e-4"],
    Task.STSB: ["--task", "stsb", "--epochs", "3", "--lr", "1e-4"],
    Task.WNUT17: ["--task", "ner", "--epochs", "5", "--lr", "1e-4"],
    Task.POS: ["--task", "pos", "--epochs", "3", "--lr", "1e-4"],
    Task.SQUAD: ["--task", "squad", "--epochs", "2", "--lr", "1e-4"],
}

Rows = Sequence[tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Rows of a task: texts whose last column is the label, or lists."""

    header: tuple[str, ...]
    train: Rows
    validation: Rows
    test: Rows

    def with_train_rows(self, count: int) -> "Corpus":
        """The same `count` of the training rows whenever it is asked for."""
        if count > len(self.train):
            raise typer.BadParameter(f"{count} training rows were asked for, there are {len(self.train)}")
        return replace(self, train=random.Random(0).sample(self.train, count))

    def filling(self, tokenizer: Tokenizer, length: int) -> "Corpus":
        """Training rows joined, label by label, until each fills `length` word pieces."""
        joined: list[tuple[str, ...]] = []
        for label in sorted({str(row[-1]) for row in self.train}):
            texts: list[str] = []
            pieces = 0
            for text in (str(row[0]) for row in self.train if row[-1] == label):
                texts.append(text)
                pieces += len(tokenizer.encode(text, add_special_tokens=False))
                if pieces >= length:
                    joined.append((" ".join(texts), label))
                    texts, pieces = [], 0
        return replace(self, train=joined)

    @property
    def suffix(self) -> str:
        """Of its files: lists are written as JSON, texts as in the sources."""
        return ".tsv" if all(isinstance(value, str) for value in self.train[0]) else ".jsonl"

    def write(self, folder: Path) -> None:
        """Write the files `train`, `validation` and `test`, in tsv without quoting."""
        folder.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            rows = getattr(self, split)
            if self.suffix == ".tsv":
                lines = ["\t".join(row) for row in [self.header, *rows]]
            else:
                lines = [json.dumps(dict(zip(self.header, row, strict=True))) for row in rows]
            (folder / f"{split}{self.suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_corpus(task: Task, shared: Path) -> Corpus:
    """Raises BadParameter where the shared folder is not there."""
    folder = shared / "data" / task
    if not folder.is_dir():
        message = (
            f"no {task} rows in {shared}: name the folder with data/, models/ and tools/ (PLANKWRIGHT_SHARED)"
        )
        raise typer.BadParameter(message)
    return READERS[task](folder)


def _read_sst2(folder: Path) -> Corpus:
    train, validation = (_cells(folder / name)[1:] for name in ("train.tsv", "dev.tsv"))
    lines = (folder / "stsa.binary.test").read_text(encoding="utf-8").splitlines()
    return Corpus(("sentence", "label"), train, validation, [(line[2:], line[0]) for line in lines])


def _read_mrpc(folder: Path) -> Corpus:
    train, test = (
        [(first, second, label) for label, _, _, first, second in _cells(folder / name)[1:]]
        for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt")
    )
    return _cut(Task.MRPC, ("sentence1", "sentence2", "label"), train, test)


def _read_stsb(folder: Path) -> Corpus:
    train, validation, test = (
        [(row[5], row[6], row[4]) for row in _cells(folder / f"sts-{split}.csv")]
        for split in ("train", "dev", "test")
    )
    return Corpus(("sentence1", "sentence2", "score"), train, validation, test)


def _read_wnut17(folder: Path) -> Corpus:
    names = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    (header, train), (_, validation), (_, test) = (_listed(read_conll, folder / name) for name in names)
    return Corpus(header, train, validation, test)


def _read_pos(folder: Path) -> Corpus:
    names = ("en_ewt-ud-train-part.conllu", "en_ewt-ud-dev.conllu")
    (header, train), (_, test) = (_listed(read_conllu, folder / name) for name in names)
    return _cut(Task.POS, header, train, test)


def _read_squad(folder: Path) -> Corpus:
    names = ("train-v1.1-part.json", "dev-v1.1-part.json")
    (header, train), (_, test) = (_listed(read_squad, folder / name) for name in names)
    return _cut(Task.SQUAD, header, train, test)


READERS: dict[Task, Callable[[Path], Corpus]] = {
    Task.SST2: _read_sst2,
    Task.MRPC: _read_mrpc,
    Task.STSB: _read_stsb,
    Task.WNUT17: _read_wnut17,
    Task.POS: _read_pos,
    Task.SQUAD: _read_squad,
}


def _listed(read: Callable[[Path, ProblemLog], Table], file: Path) -> tuple[tuple[str, ...], Rows]:
    """The columns of a file that the engine's own reader reads, and its rows."""
    log = ProblemLog()
    table = read(file, log)
    rows = [row for batch in table.batches for row in zip(*batch, strict=True)]
    log.raise_if_any()
    return tuple(table.columns), rows


def _cut(task: Task, header: tuple[str, ...], train: Rows, test: Rows) -> Corpus:
    """The last of the training rows are for validation."""
    cut = len(train) - CUT_FOR_VALIDATION[task]
    return Corpus(header, train[:cut], train[cut:], test)


def fine_tuned(task: Task, shared: Path, cache: Path) -> Path:
    """The checkpoint to compress: the one that is there, or one that takes some minutes to make, once."""
    if task is Task.SST2:
        return shared / "models" / "sst2-minilm"
    model = cache / "models" / task
    if not (model / "config.json").exists():
        tool = [sys.executable, str(shared / "tools" / "finetune.py")]
        threads = str(len(os.sched_getaffinity(0)))
        data = ["--data", str(shared / "data" / task), "--bf16", "--bucket", "--threads", threads]
        partial = model.with_suffix(".partial")
        subprocess.run(
            [*tool, *data, *FINETUNING[task], "--out", str(partial)], check=True, stdout=sys.stderr
        )
        partial.rename(model)
    return model


def _cells(file: Path) -> Rows:
    text = file.read_text(encoding="utf-8-sig")
    return [tuple(cell.strip() for cell in line.split("\t")) for line in text.split("\n") if line]
