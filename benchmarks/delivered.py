"""What a user takes home: Theseus and quantisation, in ONNX Runtime, beside the original in torch.

    python -m benchmarks.delivered [--only quality] [--seeds 3] [--epochs 3]

The weights are chosen on the validation rows and measured on the test rows. `latency` measures the files that
`quality` left in the cache, and may be run again by itself on a quiet machine: all models in one process, by turns, on
the same rows, with one thread. The original is stored in float32 for both.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer

from benchmarks.data import CACHE, SHARED, CacheOption, Corpus, SharedOption, Task, fine_tuned, read_corpus
from benchmarks.process import pin_to_cores
from benchmarks.results import RESULTS, Draft, ResultsOption, Row, Target, record
from benchmarks.runs import Material, compress
from compression.report.schema import FileResult, Report
from compression.spec import ONNX_FILES

LAYERS = 3
DELIVERED = ONNX_FILES["onnx-int8"]
RETENTION, SIZE, SPEEDUP = 0.97, 0.25, 6.0
LENGTHS = (None, 64, 128)
"""Word pieces per row; SST-2's own rows where it is None."""
BATCHES = [1, 32]


class PartName(StrEnum):
    QUALITY = "quality"
    LATENCY = "latency"


def main(
    only: Annotated[list[PartName], typer.Option(help="Parts to measure.")] = list(PartName),  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2)] = 3,
    epochs: Annotated[float, typer.Option(help="Passes of Theseus over the training rows.")] = 3,
    rows: Annotated[int | None, typer.Option(help="Training rows at the most.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of training.")] = 2,
    shared: SharedOption = SHARED,
    cache: CacheOption = CACHE,
    results: ResultsOption = RESULTS,
) -> None:
    """Measure a delivered model and write results/delivered.json."""
    pin_to_cores(threads)
    corpus, folder = read_corpus(Task.SST2, shared), cache / "delivered"
    if PartName.QUALITY in only:
        with (
            record(
                "delivered", "quality", "Delivered model on SST-2, 6 to 3 layers in 8 bits", results
            ) as draft,
            tempfile.TemporaryDirectory() as scratch,
        ):
            original = in_float32(fine_tuned(Task.SST2, shared, cache), folder / "original")
            (corpus.with_train_rows(rows) if rows else corpus).write(Path(scratch))
            material = Material.prepare(original, Path(scratch))
            reports = [deliver(material, seed, epochs, threads, folder / "result") for seed in range(seeds)]
            compare_quality(reports, draft)
    if PartName.LATENCY in only:
        with record("delivered", "latency", "Latency of the delivered model", results) as draft:
            compare_latency(corpus, folder, draft)


def in_float32(model: Path, folder: Path) -> Path:
    """A copy of a checkpoint with its weights in float32."""
    from safetensors.numpy import load_file, save_file

    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(model, folder, copy_function=shutil.copyfile)
    weights = {
        name: array.astype("float32") for name, array in load_file(model / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def deliver(material: Material, seed: int, epochs: float, threads: int, result: Path) -> Report:
    """One job in a process of its own; `result` then holds its artifacts and its model."""
    if result.exists():
        shutil.rmtree(result)
    steps: list[dict[str, Any]] = [
        {"method": "theseus", "successor_layers": LAYERS, "training": {"epochs": epochs}},
        {"method": "quantize", "scheme": "int8-dynamic"},
    ]
    done = compress(
        material,
        steps,
        result,
        seed=seed,
        threads=threads,
        split="test",
        batch_sizes=BATCHES,
        exports=["safetensors", "onnx"],
    )
    print(f"seed {seed}: {done.report.retention:.4f} kept in {done.report.size_ratio:.1%}", file=sys.stderr)
    return done.report


def compare_quality(reports: list[Report], draft: Draft) -> None:
    before = reports[0].before
    score = before.metrics[reports[0].metric].value
    draft.rows.append(_row("original, torch float32", before.bytes, 1.0, [score], [1.0], []))
    for name in [file.name for file in reports[0].files]:
        files = [next(file for file in report.files if file.name == name) for report in reports]
        draft.rows.append(_file_row(files, reports))
    kept = [report.retention for report in reports if report.retention is not None]
    draft.targets += [
        Target(what=f"accuracy kept by {DELIVERED}", measured=mean(kept), at_least=RETENTION),
        Target(what=f"bytes of {DELIVERED}", measured=reports[0].size_ratio, at_most=SIZE),
    ]
    draft.notes.append(f"{len(reports)} seeds; recipe: {'; '.join(reports[0].recipe)}.")


def _file_row(files: list[FileResult], reports: list[Report]) -> Row:
    before, metric = reports[0].before, reports[0].metric
    scores = [file.metrics[metric].value for file in files]
    kept = [score / before.metrics[metric].value for score in scores]
    loyal = [file.loyalty.label.value for file in files if file.loyalty.label is not None]
    name = f"{files[0].name}, {files[0].runtime} {files[0].precision}"
    return _row(name, files[0].bytes, files[0].bytes / before.bytes, scores, kept, loyal)


def _row(
    name: str, size: int, ratio: float, scores: list[float], kept: list[float], loyal: list[float]
) -> Row:
    return {
        "file": name,
        "bytes": size,
        "of the original's": ratio,
        "accuracy": mean(scores),
        "sd": stdev(scores) if len(scores) > 1 else None,
        "by seed": " ".join(f"{score:.4f}" for score in scores),
        "retention": mean(kept),
        "label loyalty": mean(loyal) if loyal else None,
    }


def compare_latency(corpus: Corpus, folder: Path, draft: Draft) -> None:
    """The original in torch and in ONNX Runtime, the result in both, and in 8 bits."""
    from compression.evaluation.cost import measure_latency
    from compression.spec import LatencyRequest

    if not (folder / "result").exists():
        raise typer.BadParameter("there are no files to measure yet: run --only quality first")
    models = dict(_models(folder))
    request = LatencyRequest(batch_sizes=BATCHES, threads=1)
    for length in LENGTHS:
        rows = _encoded(corpus, folder / "original", length)
        by_model = measure_latency([(model, rows) for model in models.values()], request, lambda: None)
        for batch, latencies in zip(BATCHES, zip(*by_model, strict=True), strict=True):
            original = latencies[0].median_ms
            for name, latency in zip(models, latencies, strict=True):
                draft.rows.append(
                    {
                        "batch": batch,
                        "word pieces": latency.sequence_length,
                        "model": name,
                        "median, ms": latency.median_ms,
                        "p95, ms": latency.p95_ms,
                        "times as fast": original / latency.median_ms,
                    }
                )
            if length is None and batch == 1:
                speedup = original / latencies[-1].median_ms
                what = "speed at batch 1, one thread, beside the original in torch float32"
                draft.targets.append(Target(what=what, measured=speedup, at_least=SPEEDUP, unit="times"))
    draft.notes.append("SST-2 rows of median length, and rows joined until they fill 64 and 128 word pieces.")


def _models(folder: Path) -> Iterator[tuple[str, Any]]:
    import torch

    from compression.checkpoints.inspection import inspect_checkpoint
    from compression.checkpoints.loading import load_model, open_source
    from compression.evaluation.onnx_model import OnnxModel
    from compression.export.graph import Graph
    from compression.export.lean import make_lean
    from compression.export.onnx_file import export_graph, write_onnx

    source, result = open_source(folder / "original"), folder / "result"
    original = load_model(source.folder, source.facts, torch.device("cpu"))
    yield "original, torch float32", original
    graph = Graph(export_graph(original, source.tokenizer, source.facts.max_length))
    make_lean(graph)
    write_onnx(graph, folder / "original.onnx")
    yield "original, ONNX Runtime float32", OnnxModel(folder / "original.onnx", original.config, 1)
    facts = inspect_checkpoint(result / "model")
    yield "result, torch float32", load_model(result / "model", facts, torch.device("cpu"))
    for name in (ONNX_FILES["onnx"], DELIVERED):
        yield f"result, {name}", OnnxModel(result / "artifacts" / name, original.config, 1)


def _encoded(corpus: Corpus, model: Path, length: int | None) -> Any:
    import pyarrow as pa
    from tokenizers import Tokenizer

    from compression.checkpoints.loading import open_source
    from compression.spec import Plan
    from compression.tasks.behaviour import behaviour_of

    texts = corpus.validation
    if length is not None:
        texts = corpus.filling(Tokenizer.from_file(str(model / "tokenizer.json")), length).train[:64]
    manifest = json.loads((model.parent / "result" / "artifacts" / "manifest.json").read_bytes())
    task = Plan.model_validate(manifest["plan"]).task.model_copy(update={"max_length": length or 128})
    table = pa.table({"text": [row[0] for row in texts], "label": [row[-1] for row in texts]})
    return behaviour_of(task).encode(open_source(model).tokenizer, table)


if __name__ == "__main__":
    typer.run(main)
