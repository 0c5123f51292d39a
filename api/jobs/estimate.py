"""What a job will take: a guess for an order of magnitude, which says what it assumes."""

from math import ceil

from api.jobs.schemas import Estimate, StepEstimate
from compression.checkpoints.facts import ModelFacts
from compression.data.summary import DatasetSummary
from compression.methods.shape import ModelShape
from compression.registry import StepParams
from compression.spec import Plan
from compression.training.params import Training

FLOPS_PER_SECOND = {"cpu": 1e11, "gpu": 2e13}
PIECES_PER_WORD = 1.3
SPECIAL_PIECES = 2
PASSES_PER_TRAINED_ROW = 3
"""In forward passes: the backward pass costs two."""
BYTES_PER_PARAMETER = 24
"""In float32: the original, the copy in training, its gradients, Adam's two moments, and the best state so far."""
ACTIVATIONS_PER_LAYER = 16
"""Numbers of the hidden size that a layer keeps for the backward pass, for each word piece."""
RUNTIME_BYTES = 600_000_000


def estimate(plan: Plan, model: ModelFacts, dataset: DatasetSummary, queue: str) -> Estimate:
    """How the steps change the model, and what they and the two evaluations take."""
    pieces = _pieces_per_row(plan, model, dataset)
    shape = ModelShape.of(model)
    rows = dataset.splits[plan.evaluation.split].rows
    flops = rows * pieces * _flops_per_piece(model, shape.layers)
    steps: list[StepEstimate] = []
    activations = 0.0
    for step in plan.steps:
        after = step.resulting(shape)
        training = _training(step)
        count = _training_steps(training, dataset.splits["train"].rows)
        if training:
            trained = count * training.batch_size * pieces
            flops += trained * PASSES_PER_TRAINED_ROW * _flops_per_piece(model, shape.layers)
            kept = training.batch_size * pieces * shape.layers * model.hidden_size * ACTIVATIONS_PER_LAYER
            activations = max(activations, 4 * kept)
        steps.append(
            StepEstimate(
                method=step.method,
                layers_before=shape.layers,
                layers_after=after.layers,
                training_steps=count,
            )
        )
        shape = after
    flops += rows * pieces * _flops_per_piece(model, shape.layers)
    return Estimate(
        steps=steps,
        training_steps=sum(step.training_steps for step in steps),
        seconds=round(flops / FLOPS_PER_SECOND[queue], 1),
        memory_bytes=int(RUNTIME_BYTES + model.parameters * BYTES_PER_PARAMETER + activations),
        assumptions=[
            f"a worker of the queue {queue} does {FLOPS_PER_SECOND[queue]:.0e} floating point operations a second",
            f"a row has {pieces:.0f} word pieces on average: {PIECES_PER_WORD} for a word",
            "a row in training costs three forward passes of the model before the step",
            "weights are trained in float32 by Adam, and all layers keep their activations",
        ],
    )


def _training(step: StepParams) -> Training | None:
    return next((value for _, value in step if isinstance(value, Training)), None)


def _training_steps(training: Training | None, rows: int) -> int:
    if training is None:
        return 0
    steps = ceil(training.epochs * ceil(rows / training.batch_size))
    return min(steps, training.max_steps or steps)


def _pieces_per_row(plan: Plan, model: ModelFacts, dataset: DatasetSummary) -> float:
    train = dataset.splits["train"]
    columns = [train.column(name) for name in plan.task.columns_read]
    words = sum(column.lengths.mean for column in columns if column)
    return min(words * PIECES_PER_WORD + SPECIAL_PIECES, model.max_length)


def _flops_per_piece(model: ModelFacts, layers: int) -> float:
    """Of one forward pass; attention between word pieces is left out, as rows are short."""
    attention = 4 * model.hidden_size**2
    feed_forward = 2 * model.hidden_size * model.intermediate_size
    return 2.0 * layers * (attention + feed_forward)
