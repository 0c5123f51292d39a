"""What a job asks of the engine (`Plan`), and what one run of it is given (`RunSpec`)."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.data.summary import DatasetSummary
from compression.errors import InputError, Problem, problems_below
from compression.methods.quantize.params import QuantizeParams
from compression.methods.shape import ModelShape
from compression.registry import Step
from compression.settings import Settings
from compression.tasks.columns import MetricName
from compression.tasks.resolution import Task, TaskRequest, resolve_metrics, resolve_task

Export = Literal["safetensors", "onnx", "onnx-int8"]
MODEL_TAR = "model.tar"
ONNX_FILES: dict[Export, str] = {"onnx": "model.onnx", "onnx-int8": "model.int8.onnx"}
LARGEST_ONNX_BYTES = 2**31 - 2**24
"""Of a file's weights: the format's own limit, with room for the graph. The 8-bit file is made of one in float32."""


class LatencyRequest(Settings):
    """How latency is measured: both models in turn, in one process, on rows of the evaluation split."""

    batch_sizes: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=1, max_length=8)] = [
        1,
        32,
    ]
    threads: Annotated[int, Field(ge=1, le=256)] = 1


class Evaluation(Settings):
    metric: MetricName | None = None
    """What retention is about; by default the task's usual one, e.g. accuracy, or F1 of entities and answers."""
    metrics: Annotated[list[MetricName], Field(min_length=1)] | None = None
    """What is measured beside it; by default all that fits the task."""
    split: Literal["validation", "test"] = "validation"
    latency: LatencyRequest = LatencyRequest()


class Constraints(Settings):
    """What the result should keep to. A miss does not fail a job: its verdict is `not_met`."""

    min_retention: Annotated[float, Field(gt=0, le=2)] | None = None
    """Metric after over metric before; of a perplexity, which is better when it is lower, before over after."""
    max_size_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Bytes after over bytes before."""
    min_speedup: Annotated[float, Field(gt=0)] | None = None
    """Latency before over after, at the first batch size."""
    min_label_loyalty: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the answers that are the original's; not for scores and embeddings, which are more or less alike."""


class _Compute(Settings):
    steps: Annotated[list[Step], Field(min_length=1, max_length=8)]
    """Methods, applied in this order."""
    evaluation: Evaluation = Evaluation()
    constraints: Constraints = Constraints()
    exports: Annotated[list[Export], Field(min_length=1, max_length=3)] = ["safetensors"]
    """Files to deliver. `safetensors`, a checkpoint in `model.tar`, is always among them; `onnx` adds the same model as
    `model.onnx`, `onnx-int8` one with weights and products of 8 bits as `model.int8.onnx`, a quarter as large."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42

    @property
    def other_models(self) -> dict[str, str]:
        """The models that steps name beside the job's own, by the place of the name."""
        return {
            f"/steps/{index}{named.PLACE}": named.name
            for index, step in enumerate(self.steps)
            for named in step.named_models
        }

    @property
    def other_datasets(self) -> dict[str, str]:
        """The datasets that steps name beside the job's own, by the place of the name."""
        return {
            f"/steps/{index}{place}": name
            for index, step in enumerate(self.steps)
            for place, name in step.named_datasets.items()
        }

    @property
    def quantization(self) -> QuantizeParams | None:
        """The last step, where it is to quantise."""
        last = self.steps[-1]
        return last if isinstance(last, QuantizeParams) else None

    @property
    def headline(self) -> str:
        """Name of the file that the report is about."""
        in_8_bits = self.quantization is not None and self.quantization.in_8_bit_file
        return ONNX_FILES["onnx-int8"] if in_8_bits else MODEL_TAR

    @property
    def onnx_files(self) -> dict[Export, str]:
        """The ONNX files to deliver."""
        return {
            export: name
            for export, name in ONNX_FILES.items()
            if export in self.exports or name == self.headline
        }


class Recipe(_Compute):
    """What a user may say of a job's compute; all but `steps` has a default."""

    task: TaskRequest | None = None
    """Inferred from the checkpoint and the dataset where it is not given."""


class Plan(_Compute):
    """A recipe with nothing left to guess: the configuration that a job is run with and its manifest shows."""

    task: Task


def resolve(
    recipe: Recipe,
    model: ModelFacts,
    dataset: DatasetSummary,
    others: Mapping[str, ModelFacts] = MappingProxyType({}),
    corpora: Mapping[str, DatasetSummary] = MappingProxyType({}),
) -> Plan:
    """Check a recipe against the model and the dataset it is for, and settle what it leaves open.

    `others` are the models that its steps name, and `corpora` the datasets, those of them that there are.

    Raises:
        InputError: every problem found, each with a JSON pointer into the recipe.
    """
    problems = [
        *_unknown("model", recipe.other_models, others),
        *_unknown("dataset", recipe.other_datasets, corpora),
        *_misfits(recipe, model, others),
    ]
    if problems:
        raise InputError(problems)
    recipe = recipe.model_copy(update={"steps": [step.with_models(others) for step in recipe.steps]})
    shapes = [ModelShape.of(model)]
    for index, step in enumerate(recipe.steps):
        if unfit := list(_unfit(step, index, model, shapes[0])):
            problems += unfit
            break
        try:
            with problems_below(f"/steps/{index}"):
                shapes = _outcomes(step, shapes)
        except InputError as error:
            problems += error.problems
            break
        if isinstance(step, QuantizeParams) and index + 1 < len(recipe.steps):
            message = "nothing can follow: rounded weights cannot be changed any more; put quantize last"
            problems.append(Problem("step_after_quantize", message, f"/steps/{index + 1}"))
            break
    else:
        problems += _too_large(recipe, shapes[0])
    metrics, task = list[MetricName](), None
    try:
        task = resolve_task(recipe.task, model, dataset, recipe.evaluation.split)
        metrics = resolve_metrics(recipe.evaluation.metric, recipe.evaluation.metrics, task)
        problems += _unread(recipe, task, model, others)
        problems += _undefined(recipe.constraints, task)
        recipe = _with_datasets(recipe, task, corpora)
    except InputError as error:
        problems += error.problems
    if problems or task is None:
        raise InputError(problems)
    evaluation = recipe.evaluation.model_copy(update={"metric": metrics[0], "metrics": metrics})
    settled = {name: getattr(recipe, name) for name in _Compute.model_fields}
    return Plan(**{**settled, "task": task, "evaluation": evaluation})


def _unknown(kind: str, named: Mapping[str, str], known: Container[str]) -> Iterator[Problem]:
    for place, name in named.items():
        if name not in known:
            yield Problem(f"unknown_{kind}", f"there is no {kind} {name}", place)


def _misfits(recipe: Recipe, model: ModelFacts, others: Mapping[str, ModelFacts]) -> Iterator[Problem]:
    for index, step in enumerate(recipe.steps):
        for named in step.named_models:
            if named.name in others:
                yield from _below(index, named.misfits(others[named.name], model))


def _unread(
    recipe: Recipe, task: Task, model: ModelFacts, others: Mapping[str, ModelFacts]
) -> Iterator[Problem]:
    """What of the rows, as the job's model reads them, a model that a step names cannot read."""
    for index, step in enumerate(recipe.steps):
        for named in step.named_models:
            own = others[named.name]
            if own.max_length < task.max_length:
                message = (
                    f"the {named.ROLE} {named.name} takes {own.max_length} word pieces at the most: set no more "
                    "than that"
                )
                yield replace(named.problem("too_short", message), place="/task/max_length")
            yield from _below(index, named.misreads(own, model, task))


def _undefined(constraints: Constraints, task: Task) -> Iterator[Problem]:
    """The constraints that nothing could meet."""
    if constraints.min_label_loyalty is not None and not task.has_label_loyalty:
        message = (
            "two scores or embeddings are more or less alike, and label loyalty is about answers that are the same "
            "or not: ask for min_retention"
        )
        yield Problem("constraint_does_not_fit", message, "/constraints/min_label_loyalty")


def _below(index: int, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Problems of a step, told as those of the recipe."""
    return (replace(problem, place=f"/steps/{index}{problem.place}") for problem in problems)


def _with_datasets(recipe: Recipe, task: Task, corpora: Mapping[str, DatasetSummary]) -> Recipe:
    """The recipe with what its steps need to know of the datasets that they name. Raises InputError."""
    steps: list[Step] = []
    for index, step in enumerate(recipe.steps):
        with problems_below(f"/steps/{index}"):
            steps.append(step.with_datasets(corpora, task))
    return recipe.model_copy(update={"steps": steps})


def _unfit(step: Step, index: int, model: ModelFacts, shape: ModelShape) -> Iterator[Problem]:
    """Why a method cannot be used on a model of this kind."""
    for kind, own, served in (
        ("architecture", shape.architecture, step.ARCHITECTURES),
        ("task", model.task, step.TASKS),
    ):
        if own not in served:
            why = f" ({what_it_lacks(shape.architecture)})" if kind == "architecture" else ""
            message = f"{step.method} does not serve the {kind} {own}{why}, only {', '.join(served)}"
            yield Problem("method_does_not_fit", message, f"/steps/{index}/method")
    if shape.vocabulary_size != model.vocabulary_size:
        message = f"word pieces have new ids after trim_vocabulary: put {step.method} before trim_vocabulary"
        yield from _below(index, (named.problem("differs", message) for named in step.named_models))


def _outcomes(step: Step, shapes: list[ModelShape]) -> list[ModelShape]:
    """Every shape that a step may leave of those it may get, which differ in their numbers of layers alone.

    Raises:
        InputError: the step cannot be applied to one of them.
    """
    try:
        return list(dict.fromkeys(after for shape in shapes for after in step.outcomes(shape)))
    except InputError as error:
        if len(shapes) == 1:
            raise
        why = "only the run shows how many layers the threshold of an earlier step leaves, and this one must fit every "
        why += "number that it may: leave the threshold out"
        raise InputError([replace(p, message=f"{p.message}; {why}") for p in error.problems]) from error


def _too_large(recipe: Recipe, result: ModelShape) -> Iterator[Problem]:
    """Whether an ONNX file to deliver is sure not to hold a result of this shape; others show once they are there."""
    if recipe.onnx_files and _least_parameters(result) * 4 > LARGEST_ONNX_BYTES:
        message = "an ONNX file holds 2 GiB at the most, and the result would be larger in float32: "
        message += "have no such file delivered, or make the model smaller"
        asked = recipe.onnx_files.keys() & recipe.exports
        place = "/exports" if asked else f"/steps/{len(recipe.steps) - 1}/scheme"
        yield Problem("too_large_for_onnx", message, place)


def _least_parameters(shape: ModelShape) -> int:
    """Those of the matrices that a model of a shape is sure to have; of factors, only training tells how many."""
    if shape.low_rank:
        return 0
    full = shape.architecture in architectures_with("full_embeddings")
    table = shape.vocabulary_size * shape.hidden_size if full else 0
    layer = 4 * shape.hidden_size**2 + 2 * shape.hidden_size * shape.intermediate_size
    return table + (shape.layer_groups or shape.layers) * layer


class Runtime(Settings):
    """Where and how one attempt runs. What it computes stays the same, but for the rounding of other thread counts."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of the process; all its cores by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cache: Path | None = None
    """Folder for what is made once per content and kept between runs: encoded datasets, answers of originals."""
    resume_from: Path | None = None
    """A checkpoint file of an earlier attempt."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60
    job_id: str = ""
    job_name: str = ""
    attempt: int = 1


class RunSpec(Settings):
    """One run of the engine: `python -m compression run SPEC.json --out DIR`."""

    model: Path
    """Folder of a checkpoint in Hugging Face form."""
    dataset: Path
    """Folder written by `compression.data.ingest`."""
    plan: Plan
    models: dict[str, Path] = {}
    """Folders of the models that the plan's steps name."""
    datasets: dict[str, Path] = {}
    """Folders of the datasets that they name."""
    runtime: Runtime = Runtime()
