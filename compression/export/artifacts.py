"""Writes the files of a job, once and deterministically."""

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compression.context import Context, TaskData
from compression.data.encoding import Encoded
from compression.evaluation.compare import Subject
from compression.export.sums import digests, files_of, write_sums
from compression.machine import describe_machine
from compression.report.card import render_card
from compression.report.html import render_html
from compression.report.schema import Report
from compression.spec import MODEL_TAR, RunSpec
from compression.tasks.behaviour import behaviour_of


def write_artifacts(
    spec: RunSpec,
    report: Report,
    context: Context,
    data: TaskData,
    before: npt.NDArray[np.float32],
    files: list[Subject],
    out: Path,
) -> None:
    """Fill `out/artifacts`, where the ONNX files are already, from `out/model` and the report."""
    folder = out / "artifacts"
    write_tar(out / "model", folder / MODEL_TAR)
    (folder / "report.json").write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    (folder / "report.html").write_text(render_html(report), "utf-8")
    (folder / "README.md").write_text(render_card(report, spec.plan), "utf-8")
    _write_lines(
        folder / "metrics.jsonl",
        [{"name": n, "step": s, "value": v} for n, points in context.curves.items() for s, v in points],
    )
    _write_lines(folder / "predictions.jsonl", _prediction_rows(data.evaluation, before, files))
    manifest = {
        "plan": spec.plan.model_dump(mode="json"),
        "inputs": {
            "model": digests(spec.model),
            "dataset": digests(spec.dataset),
            "models": {name: digests(folder) for name, folder in spec.models.items()},
            "datasets": {name: digests(folder) for name, folder in spec.datasets.items()},
        },
        "job": {"id": spec.runtime.job_id, "name": spec.runtime.job_name, "attempt": spec.runtime.attempt},
        "resumed": spec.runtime.resume_from is not None,
        "machine": describe_machine(context.device).model_dump(),
        "compute_dtype": str(context.dtype).removeprefix("torch."),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", "utf-8")
    write_sums(folder)


def write_tar(folder: Path, path: Path) -> None:
    """The files of a folder under its name, without anything of the machine or the moment."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for file in files_of(folder):
            entry = tarfile.TarInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}")
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as stream:
                archive.addfile(entry, stream)


def _write_lines(path: Path, rows: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _prediction_rows(
    data: Encoded, before: npt.NDArray[np.float32], files: list[Subject]
) -> Iterator[dict[str, object]]:
    """Each evaluation row with what all models gave for it, so that they can be checked without the dataset."""
    task = behaviour_of(data.task)
    after = files[0].logits
    recorded = [task.recorded(logits, data) for logits in (before, *(file.logits for file in files))]
    for row, values in enumerate(data.table.to_pylist()):
        old, new, *others = (of_model[row].tolist() for of_model in recorded)
        yield {
            "row": row + 1,
            **values,
            "before": old,
            "after": new,
            "before_answer": task.answer(before, data, row),
            "after_answer": task.answer(after, data, row),
            "files": dict(zip((file.name for file in files[1:]), others, strict=True)),
        }
