"""One compression, by the paper's recipe or by the engine, in a fresh process: what it took and what came of it."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from benchmarks import process
from benchmarks.process import WARM_UP
from benchmarks.results import Row
from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.ingest import SPLITS, ingest_dataset
from compression.data.summary import DatasetSummary
from compression.events import Phase, PhaseEvent, ProgressEvent, parse_event
from compression.report.schema import Report
from compression.spec import Export, Recipe, RunSpec, Runtime, resolve


@dataclass(frozen=True, slots=True)
class Figures:
    """Alike for both; CPU seconds and peak memory are those of the whole process where they do not say training."""

    examples_per_second: float
    """Over all training steps; steps that train nothing count as seen."""
    examples_per_second_warm: float
    """Without the first WARM_UP steps."""
    training_cpu_seconds: float
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: float
    before: float
    after: float
    retention: float
    label_loyalty: float | None
    """None for regression."""
    probability_loyalty: float
    bytes: int | None = None
    """Of the weights that are delivered; the paper's recipe delivers none."""
    latency_ms: float | None = None
    """Of one row of median length, one thread."""
    speedup: float | None = None
    """The original's latency over it, both in one process by turns."""


@dataclass(frozen=True, slots=True)
class Material:
    """A model and rows, ready for both: the files for the paper's recipe, the same rows ingested for the engine."""

    model: Path
    files: Path
    dataset: Path
    facts: ModelFacts
    summary: DatasetSummary

    @classmethod
    def prepare(cls, model: Path, files: Path) -> "Material":
        """`files` holds what a corpus writes; the ingested dataset is put beside it."""
        dataset = files / "dataset"
        written = {split: next(files.glob(f"{split}.*")) for split in SPLITS}
        summary = ingest_dataset(written, dataset, None, 0)
        return cls(model, files, dataset, inspect_checkpoint(model), summary)


def run_reference(material: Material, *, threads: int, **options: str | int | float) -> Figures:
    """`options` are those of `python -m benchmarks.paper_recipe`."""
    named = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    rows = [f"--{split}={material.files / split}.tsv" for split in ("train", "validation")]
    command = ["benchmarks.paper_recipe", str(material.model), *rows, f"--threads={threads}", *named]
    with tempfile.TemporaryDirectory() as folder:
        finished = process.run(command, threads=threads, log=Path(folder) / "log")
    found = json.loads(finished.lines[-1].text)
    return Figures(
        examples_per_second=found["examples_per_second_all_steps"],
        examples_per_second_warm=found["examples_per_second"],
        training_cpu_seconds=found["training_cpu_seconds"],
        wall_seconds=finished.wall_seconds,
        cpu_seconds=finished.cpu_seconds,
        peak_rss_bytes=finished.peak_rss_bytes,
        before=found["before"],
        after=found["after"],
        retention=found["after"] / found["before"],
        label_loyalty=found["label_loyalty"],
        probability_loyalty=found["probability_loyalty"],
    )


@dataclass(frozen=True, slots=True)
class Compression:
    """A run of the engine, as its process was seen and as it reports itself."""

    finished: process.Finished
    report: Report


def write_spec(
    material: Material,
    steps: list[dict[str, Any]],
    out: Path,
    *,
    seed: int,
    threads: int,
    length: int = 128,
    split: Literal["validation", "test"] = "validation",
    batch_sizes: Sequence[int] = (1,),
    exports: Sequence[Export] = ("safetensors",),
    checkpoint_seconds: float = 3600,
) -> Path:
    """A run in the new folder `out`; `steps` are those of a recipe as a user would send it."""
    recipe = Recipe.model_validate(
        {
            "task": {"type": material.facts.task, "max_length": length},
            "steps": steps,
            "evaluation": {"split": split, "latency": {"batch_sizes": batch_sizes}},
            "exports": exports,
            "seed": seed,
        }
    )
    spec = RunSpec(
        model=material.model,
        dataset=material.dataset,
        plan=resolve(recipe, material.facts, material.summary),
        runtime=Runtime(threads=threads, device="cpu", checkpoint_seconds=checkpoint_seconds),
    )
    out.mkdir(parents=True)
    (out / "spec.json").write_text(spec.model_dump_json())
    return out / "spec.json"


def compress(
    material: Material, steps: list[dict[str, Any]], out: Path, *, threads: int, **options: Any
) -> Compression:
    """What the engine leaves behind is put into the new folder `out`; `options` are those of `write_spec`."""
    spec = write_spec(material, steps, out, threads=threads, **options)
    command = ["compression", "run", str(spec), "--out", str(out)]
    finished = process.run(command, threads=threads, log=out / "log")
    return Compression(finished, Report.model_validate_json((out / "artifacts" / "report.json").read_bytes()))


def run_engine(material: Material, step: dict[str, Any], *, batch_size: int = 32, **options: Any) -> Figures:
    """`step` is the one of the recipe, `options` are those of `compress`."""
    with tempfile.TemporaryDirectory() as folder:
        return figures_of(compress(material, [step], Path(folder) / "out", **options), batch_size)


def figures_of(compression: Compression, batch_size: int = 32) -> Figures:
    finished, report = compression.finished, compression.report
    begin, warm, end = training_moments(finished.lines)
    seconds = [end.line.wall - at.line.wall for at in (begin, warm)]
    rate = [
        batch_size * (end.step - at.step) / taken if taken else 0.0
        for at, taken in zip((begin, warm), seconds, strict=True)
    ]
    loyal = report.loyalty
    before, after = (side.metrics[report.metric].value for side in (report.before, report.after))
    return Figures(
        examples_per_second=rate[0],
        examples_per_second_warm=rate[1],
        training_cpu_seconds=end.line.cpu - begin.line.cpu,
        wall_seconds=finished.wall_seconds,
        cpu_seconds=finished.cpu_seconds,
        peak_rss_bytes=finished.peak_rss_bytes,
        before=before,
        after=after,
        retention=after / before,
        label_loyalty=loyal.label.value if loyal.label else None,
        probability_loyalty=loyal.probability.value,
        bytes=report.files[0].bytes,
        latency_ms=report.files[0].latency[0].median_ms,
        speedup=report.speedup[1],
    )


@dataclass(frozen=True, slots=True)
class Moment:
    line: process.Line
    step: int


def training_moments(lines: list[process.Line]) -> tuple[Moment, Moment, Moment]:
    """When training began, was warm (if it lasted so long), and had made its last step: what follows is validation."""
    moments: list[Moment] = []
    for line in lines:
        match parse_event(line.text):
            case PhaseEvent(phase=Phase.COMPRESS):
                moments = [Moment(line, 0)]
            case ProgressEvent(step=step) if moments and step > moments[-1].step:
                moments.append(Moment(line, step))
    warm = next((moment for moment in moments[:-1] if moment.step >= WARM_UP), moments[0])
    return moments[0], warm, moments[-1]


def quality_of(runs: Sequence[Figures]) -> Row:
    """What is left of the quality, over the seeds."""
    loyal = [run.label_loyalty for run in runs if run.label_loyalty is not None]
    return {
        "before": runs[0].before,
        "after": mean(run.after for run in runs),
        "sd": stdev(run.after for run in runs),
        "by seed": " ".join(f"{run.after:.4f}" for run in runs),
        "retention": mean(run.retention for run in runs),
        "label loyalty": mean(loyal) if loyal else None,
        "probability loyalty": mean(run.probability_loyalty for run in runs),
    }
