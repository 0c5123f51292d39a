"""Models and rows of the benchmarks, from the folder of real data that lies beside the project.

What is derived from it, tsv files with a header and fine-tuned checkpoints, goes to a cache folder outside the project.
"""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import Tokenizer

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

MRPC_VALIDATION_ROWS = 408
"""As many as GLUE cuts from MRPC's training rows; the file has no validation rows of its own."""
FINETUNING = {"mrpc": ["--epochs", "5", "--lr", "1e-4"], "stsb": ["--epochs", "3", "--lr", "1e-4"]}

Rows = Sequence[tuple[str, ...]]


class Task(StrEnum):
    SST2 = "sst2"
    MRPC = "mrpc"
    STSB = "stsb"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Rows of a task; the last column is the label."""

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
        for label in sorted({row[-1] for row in self.train}):
            texts: list[str] = []
            pieces = 0
            for row in (row for row in self.train if row[-1] == label):
                texts.append(row[0])
                pieces += len(tokenizer.encode(row[0], add_special_tokens=False))
                if pieces >= length:
                    joined.append((" ".join(texts), label))
                    texts, pieces = [], 0
        return replace(self, train=joined)

    def write(self, folder: Path) -> None:
        """Write `train.tsv`, `validation.tsv` and `test.tsv`, without quoting as in the sources."""
        folder.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            lines = ["\t".join(row) for row in [self.header, *getattr(self, split)]]
            (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_corpus(task: Task, shared: Path) -> Corpus:
    """Raises BadParameter where the shared folder is not there."""
    folder = shared / "data" / task
    if not folder.is_dir():
        message = (
            f"no {task} rows in {shared}: name the folder with data/, models/ and tools/ (PLANKWRIGHT_SHARED)"
        )
        raise typer.BadParameter(message)
    if task is Task.SST2:
        train, validation = (_cells(folder / name)[1:] for name in ("train.tsv", "dev.tsv"))
        lines = (folder / "stsa.binary.test").read_text(encoding="utf-8").splitlines()
        return Corpus(("sentence", "label"), train, validation, [(line[2:], line[0]) for line in lines])
    if task is Task.MRPC:
        train, test = (
            [(first, second, label) for label, _, _, first, second in _cells(folder / name)[1:]]
            for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt")
        )
        cut = len(train) - MRPC_VALIDATION_ROWS
        return Corpus(("sentence1", "sentence2", "label"), train[:cut], train[cut:], test)
    train, validation, test = (
        [(row[5], row[6], row[4]) for row in _cells(folder / f"sts-{split}.csv")]
        for split in ("train", "dev", "test")
    )
    return Corpus(("sentence1", "sentence2", "score"), train, validation, test)


def fine_tuned(task: Task, shared: Path, cache: Path) -> Path:
    """The checkpoint to compress: the one that is there, or one that takes some minutes to make, once."""
    if task is Task.SST2:
        return shared / "models" / "sst2-minilm"
    model = cache / "models" / task
    if not (model / "config.json").exists():
        tool = [sys.executable, str(shared / "tools" / "finetune.py"), "--task", task]
        data = ["--data", str(shared / "data" / task), "--bf16", "--bucket", *FINETUNING[task]]
        partial = model.with_suffix(".partial")
        subprocess.run([*tool, *data, "--out", str(partial)], check=True, stdout=sys.stderr)
        partial.rename(model)
    return model


def _cells(file: Path) -> Rows:
    text = file.read_text(encoding="utf-8-sig")
    return [tuple(cell.strip() for cell in line.split("\t")) for line in text.split("\n") if line]
