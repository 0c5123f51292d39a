"""Tiny runs of the engine: a random model, a few rows, a few steps."""

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import ingest_dataset
from compression.data.problems import ProblemLog
from compression.data.readers import read_table
from compression.data.summary import SplitName
from compression.events import EventWriter
from compression.report.schema import Report
from compression.run import run
from compression.spec import Recipe, RunSpec, Runtime, resolve
from tests.checkpoints import LABELS, WORDS, make_tiny_checkpoint

TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "evaluations_per_epoch": 1}

METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    "theseus": {"successor_layers": 2, "fitted": True, "hidden_weight": 0.5, "training": TRAINING},
    "layer_drop": {"keep_layers": 2, "recovery": TRAINING},
    "distill": {
        "student_layers": 2,
        "cosine_weight": 0.5,
        "patient": {"weight": 0.5},
        "hidden_weight": 0.5,
        "attention_weight": 0.5,
        "fitted": True,
        "training": TRAINING,
    },
    "tinybert": {"student_layers": 2, "hidden_size": 8, "augmentation": {}, "training": TRAINING},
    "low_rank": {"rows": 16, "recovery": TRAINING},
    "ladabert": {"ratio": 3, "rounds": 3, "training": TRAINING},
    "narrow": {"rows": 16, "recovery": TRAINING},
    "share": {"groups": 2, "embedding_size": 8, "recovery": TRAINING},
    "prune": {"training": TRAINING},
    "trim_vocabulary": {"keep_share": 0.985},
    "quantize": {"scheme": "int8-dynamic", "recovery": TRAINING, "distillation": {}},
}
"""Settings with which each registered method halves a model of four layers in a dozen steps."""


def write_rows(
    path: Path,
    rows: int,
    seed: int,
    *,
    labels: Sequence[str] = LABELS["text-classification"],
    pairs: bool = False,
    regression: bool = False,
) -> Path:
    """A split whose label is how often `good` occurs, from 0 to 5, in as many ranges as there are labels."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(rows):
            words = draw.choices(WORDS, k=draw.randint(3, 12))
            count = min(words.count("good") + draw.randint(0, 4), 5)
            label = str(float(count)) if regression else labels[count * len(labels) // 6]
            row = {"text": " ".join(words), "label": label}
            if pairs:
                row["text_pair"] = " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))
            stream.write(json.dumps(row) + "\n")
    return path


def write_tagged(path: Path, rows: int, seed: int) -> Path:
    """A split in which `good` begins a thing that lasts for two words."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(rows):
            words = draw.choices([*WORDS, "good", "good", "unspeakable"], k=draw.randint(2, 9))
            before = ["", *words]
            for last, word in zip(before, words, strict=False):
                tag = "B-thing" if word == "good" else "I-thing" if last == "good" else "O"
                stream.write(f"{word}\t{tag}\n")
            stream.write("\n")
    return path


def write_several(path: Path, rows: int, seed: int) -> Path:
    """A split whose labels are the adjectives that occur, as one value."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(rows):
            words = draw.choices(WORDS, k=draw.randint(3, 12))
            labels = [name for name, word in (("negative", "bad"), ("positive", "good")) if word in words]
            stream.write(json.dumps({"text": " ".join(words), "labels": "|".join(labels)}) + "\n")
    return path


def write_questions(path: Path, rows: int, seed: int) -> Path:
    """Where is the animal? Contexts of all lengths, every fourth without it."""
    draw = random.Random(seed)
    paragraphs = []
    for row in range(rows):
        words = [word for word in draw.choices(WORDS, k=draw.randint(5, 90)) if word not in ("dog", "cat")]
        answers = []
        if row % 4:
            place = draw.randrange(len(words))
            words[place] = draw.choice(["dog", "cat"])
            answers = [{"text": words[place], "answer_start": len(" ".join([*words[:place], ""]))}]
        question = {
            "id": str(row),
            "question": "dog or cat",
            "answers": answers,
            "is_impossible": not answers,
        }
        paragraphs.append({"context": " ".join(words), "qas": [question]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]}))
    return path


def write_texts(path: Path, rows: int, seed: int) -> Path:
    """Texts in which one word follows from another, and one row without any."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for row in range(rows):
            words = draw.choices(WORDS, k=draw.randint(2, 8)) if row != 3 else []
            text = " ".join(f"{word} {WORDS[(WORDS.index(word) + 1) % len(WORDS)]}" for word in words)
            stream.write(json.dumps({"text": text}) + "\n")
    return path


def write_scored_pairs(path: Path, rows: int, seed: int) -> Path:
    """Pairs of texts and the share of their words that they have in common."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(rows):
            first = draw.choices(WORDS, k=draw.randint(2, 8))
            second = [word if draw.random() < 0.5 else draw.choice(WORDS) for word in first]
            score = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
            pair = {"text": " ".join(first), "text_pair": " ".join(second), "score": score}
            stream.write(json.dumps(pair) + "\n")
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


WRITERS: dict[TaskType, tuple[str, Callable[[Path, int, int], Path]]] = {
    "text-classification": (".jsonl", write_rows),
    "token-classification": (".conll", write_tagged),
    "question-answering": (".json", write_questions),
    "fill-mask": (".jsonl", write_texts),
    "sentence-similarity": (".jsonl", write_scored_pairs),
    "text-generation": (".jsonl", write_texts),
}
"""For each task the format of its rows, and what writes a number of them by a seed."""


TEXTS = ("text", "text_pair", "tokens", "question", "context")


def without_labels(path: Path) -> Path:
    """The same rows as JSON lines of what a model reads."""
    table = read_table(path, ProblemLog())
    rows = [
        dict(zip(table.columns, row, strict=True))
        for batch in table.batches
        for row in zip(*batch, strict=True)
    ]
    bare = [{name: value for name, value in row.items() if name in TEXTS} for row in rows]
    return write_lines(path.with_suffix(".bare.jsonl"), bare)


def make_spec(
    folder: Path,
    steps: list[dict[str, Any]],
    *,
    task: TaskType = "text-classification",
    architecture: Architecture = "bert",
    layers: int = 4,
    labels: Sequence[str] | None = None,
    regression: bool = False,
    several: bool = False,
    pairs: bool = False,
    unlabelled: Sequence[SplitName] = (),
    rows: Mapping[SplitName, Path | list[dict[str, Any]]] | None = None,
    runtime: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **recipe: Any,
) -> RunSpec:
    """A model, a dataset and a plan below `folder`, ready to run; `settings` are those of the task, `config` of the
    model.

    `rows` are those of splits that shall not have the usual ones, or files of them.
    """
    if settings is not None:
        recipe["task"] = {"type": task, **settings}
    model = make_tiny_checkpoint(
        folder / "source",
        architecture,
        task=task,
        layers=layers,
        labels=labels,
        regression=regression,
        several=several,
        **(config or {}),
    )
    suffix, write = WRITERS[task]
    if several:
        write = write_several
    elif task == "text-classification":
        write = partial(write_rows, labels=labels or LABELS[task], pairs=pairs, regression=regression)
    files: dict[SplitName, Path] = {
        "train": write(folder / f"train{suffix}", 48, 1),
        "validation": write(folder / f"validation{suffix}", 24, 2),
    }
    files |= {split: without_labels(files[split]) for split in unlabelled}
    for split, own in (rows or {}).items():
        files[split] = own if isinstance(own, Path) else write_lines(folder / f"{split}.own.jsonl", own)
    dataset = folder / "dataset"
    dataset.mkdir()
    summary = ingest_dataset(files, dataset, None, 0)
    asked = Recipe(steps=steps, **recipe)
    others = {name: Path(name) for name in asked.other_models.values()}
    known = {name: inspect_checkpoint(path) for name, path in others.items() if path.is_dir()}
    named = list(dict.fromkeys(asked.other_datasets.values()))
    corpora = {name: folder / f"corpus-{number}" for number, name in enumerate(named) if Path(name).exists()}
    texts = {name: ingest_dataset({"train": Path(name)}, at, None, 0) for name, at in corpora.items()}
    plan = resolve(asked, inspect_checkpoint(model), summary, known, texts)
    runs = Runtime(threads=1, **(runtime or {}))
    return RunSpec(model=model, dataset=dataset, plan=plan, models=others, datasets=corpora, runtime=runs)


def run_to_end(spec: RunSpec, out: Path) -> Report:
    return run(spec, out, EventWriter(io.StringIO()), lambda: False)


def stop_after(checks: int) -> Callable[[], bool]:
    """A wish to stop that comes at the n-th time it is asked for."""

    def answers() -> Iterator[bool]:
        for _ in range(checks):
            yield False
        while True:
            yield True

    sequence = answers()
    return lambda: next(sequence)


def resumed(spec: RunSpec, stopped: Path) -> RunSpec:
    """The spec of the attempt that goes on from the newest checkpoint of another."""
    newest = max((stopped / "checkpoints").glob("*.safetensors"))
    return spec.model_copy(update={"runtime": spec.runtime.model_copy(update={"resume_from": newest})})


def predictions_of(out: Path) -> list[dict[str, Any]]:
    with (out / "artifacts" / "predictions.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def weights_of(out: Path) -> bytes:
    (file,) = (out / "model").glob("*.safetensors")
    return file.read_bytes()
