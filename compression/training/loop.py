"""The one training loop.

    for step in steps not yet done:
        seed every random generator from (seed, recipe step, step)
        objective.prepare(share of the steps done)      may say that there is nothing to train
        forward in the compute type, backward, clip, optimizer step
        record; every share of an epoch: validate, keep the best weights
        checkpoint when one is due or the process shall stop
    the best weights go back into the model

A run that is interrupted at any step and goes on from its checkpoint ends with the same weights, bit for bit on CPU:
the batches, the gates and the dropout of a step are functions of the seed and the step's number.
"""

import math
import time
from collections.abc import Collection, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.context import Context, TaskData
from compression.data.batches import Batch, collate, epoch_batches, few_lengths
from compression.errors import ComputeError, ReasonClass
from compression.evaluation.predict import predict
from compression.events import ProgressEvent
from compression.tasks.behaviour import behaviour_of
from compression.tasks.columns import goodness
from compression.training.params import Training
from compression.training.precision import MixedPrecision
from compression.training.whole_layer import fast_layers

POINTS = 200
"""Values per training curve."""


class Objective(Protocol):
    """What a method optimises."""

    model: PreTrainedModel
    outside_share: float
    """Learning rate of what is trained outside the layers, as a share of theirs."""
    settled: bool
    """Whether validations already show the model that is to be: only then may training stop early."""

    def deliverable(self, done: int) -> bool:
        """Whether the weights after so many steps could be the result: only then are they kept as the best."""

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters to optimise, in an order that is the same in every run."""

    def sparse(self) -> Collection[torch.Tensor]:
        """The matrices in which what is zero stays zero."""

    def prepare(self, step: int, fraction: float) -> bool:
        """Set the model up for a step after `fraction` of all steps; False where the step would train nothing."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """The scalar to minimise."""

    def after_step(self, weights: MixedPrecision) -> None:
        """Change the weights that an optimizer step has left, where a method holds them to something."""

    def observed(self) -> dict[str, float]:
        """Values of the step at hand worth a curve, e.g. the replacing rate."""


def train(objective: Objective, data: TaskData, training: Training, context: Context) -> None:
    """Train the objective's parameters in place and leave the best weights seen in them.

    Raises:
        Stopped: the process was asked to stop; a checkpoint is written.
        ComputeError: the loss is not finite.
    """
    with fast_layers(objective.model):
        run = _Run(objective, data, training, context)
        run.resume()
        objective.model.train()
        run.evaluate_if_due()  # where the interruption came in the middle of it
        while not run.finished():
            run.train_step(run.step)
            run.evaluate_if_due()
            context.stop_if_requested(run.save)
            if context.checkpoint_due():
                run.save()
        run.save()
        run.finish()


def seed_step(context: Context, step: int) -> None:
    """Make the random numbers of a step a function of the job's seed, the recipe step and the step."""
    words = np.random.SeedSequence([context.seed, context.recipe_step, step]).generate_state(2)
    seed = int(words[0]) << 32 | int(words[1])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every kind of device, at 0.2 ms a step
    if context.device.type == "cuda":
        torch.cuda.manual_seed(seed)


class _Run:
    """The state of one training: everything a checkpoint holds."""

    def __init__(self, objective: Objective, data: TaskData, training: Training, context: Context) -> None:
        self.objective, self.data, self.training, self.context = objective, data, training, context
        self.weights = MixedPrecision(
            objective.model,
            objective.trained(),
            context.dtype_for(training),
            training.weight_decay,
            objective.sparse(),
        )
        self.total = training.steps(len(data.train))
        self.per_epoch = math.ceil(len(data.train) / training.batch_size)
        self.evaluation_every = training.evaluation_every(len(data.train))
        self.record_every = max(1, self.total // POINTS)
        self.step = 0
        self.evaluated_at = 0
        self.best: torch.Tensor | None = None
        self.best_score = (-math.inf, -math.inf)
        self.in_vain = 0
        """Validations since the best one."""
        self.losses: list[torch.Tensor] = []
        self.epoch_order: tuple[int, list[npt.NDArray[np.int64]]] = (-1, [])
        self.started = time.monotonic()
        self.started_at_step = 0
        self.examples = 0
        """Rows of the steps since then."""

    def finished(self) -> bool:
        patience = self.training.patience
        return self.step >= self.total or (patience is not None and self.in_vain >= patience)

    def train_step(self, step: int) -> None:
        fraction = step / self.total
        seed_step(self.context, step)
        rows = self._rows(step)
        if self.objective.prepare(step, fraction):
            self._optimize(self._batch(rows, step), fraction)
        self.step = step + 1
        self.examples += len(rows)
        if self.step % self.record_every == 0 or self.step == self.total:
            self._record(fraction)

    def _optimize(self, batch: Batch, fraction: float) -> None:
        loss = self.objective.loss(batch)
        if not loss.requires_grad:
            return  # none of the rows drew what is trained
        torch.autograd.backward(loss)
        self.weights.step(
            self._learning_rate(fraction), self.training.clip_norm, self.objective.outside_share
        )
        self.objective.after_step(self.weights)
        self.losses.append(loss.detach())

    def _learning_rate(self, fraction: float) -> float:
        warmup = self.training.warmup_fraction
        share = fraction / warmup if fraction < warmup else (1 - fraction) / (1 - warmup)
        return self.training.learning_rate * share

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        epoch, index = divmod(step, self.per_epoch)
        if self.epoch_order[0] != epoch:
            batches = epoch_batches(
                self.data.train,
                self.training.batch_size,
                self.context.seed,
                epoch,
                by_length=self.training.batching == "by_length",
            )
            self.epoch_order = epoch, batches
        return self.epoch_order[1][index]

    def _batch(self, rows: npt.NDArray[np.int64], step: int) -> Batch:
        task = self.data.task
        longest = int(self.data.train.lengths[rows].max())
        padded_to = task.max_length if self.training.batching == "padded" else few_lengths(longest)
        draw = self.context.seed, self.context.recipe_step, step
        return collate(self.data.train, rows, self.context.device, min(padded_to, task.max_length), draw)

    def _record(self, fraction: float) -> None:
        values = {"learning_rate": self._learning_rate(fraction), **self.objective.observed()}
        if self.losses:
            values["loss"] = float(torch.stack(self.losses).mean())
            self.losses.clear()
            if not math.isfinite(values["loss"]):
                message = f"the loss is not finite at step {self.step}: lower the learning rate"
                raise ComputeError("diverged", message, ReasonClass.USER)
        seconds = time.monotonic() - self.started
        values["examples_per_second"] = self.examples / seconds
        self.context.tell(self.step, values)
        trained = self.step - self.started_at_step
        left = (self.context.total_steps - self.context.done - self.step) * seconds / trained
        done = self.context.done + self.step
        self.context.emit(ProgressEvent(step=done, total=self.context.total_steps, eta_seconds=left))

    def evaluate_if_due(self) -> None:
        """Validate, and keep the weights if they are the best so far; of equals the later, which trained longer."""
        rows = self.data.selection
        due = self.step % self.evaluation_every == 0 or self.step == self.total
        if rows is None or not due or self.step == self.evaluated_at:
            return
        task = behaviour_of(self.data.task)
        logits = predict(self.objective.model, rows, self._stop_between_batches)
        self.evaluated_at = self.step
        value = task.score(self.data.metric, logits, rows)
        told, score = {f"eval.{self.data.metric}": value}, (goodness(self.data.metric, value), 0.0)
        if self.data.reference is not None:
            loyal = task.closeness(self.data.reference, logits, rows)
            told["eval.probability_loyalty"], score = loyal, (score[0], loyal)
        self.context.tell(self.step, told)
        if self.training.best_by == "loyalty":
            score = score[1], score[0]
        better = score[0] > self.best_score[0]
        deliverable = self.objective.deliverable(self.step)
        self.in_vain = 0 if better or not (deliverable and self.objective.settled) else self.in_vain + 1
        if deliverable and score >= self.best_score:
            self.best_score = score
            self.best = self.weights.weights()
        if self.step * 2 >= self.total and (doubt := task.doubt(logits, rows)):
            code, message = doubt
            self.context.warn(code, f"after half of the training {message}")

    def _stop_between_batches(self) -> None:
        self.context.stop_if_requested(self.save)

    def finish(self) -> None:
        """Leave the best weights seen, or the last ones where nothing was validated."""
        if self.best is not None:
            self.weights.put_weights(self.best)
        self.weights.release()
        self.objective.model.eval()

    def save(self) -> None:
        tensors = {f"weights.{name}": tensor for name, tensor in self.weights.state().items()}
        tensors |= {f"loss.{i}": loss for i, loss in enumerate(self.losses)}
        if self.best is not None:
            tensors["best"] = self.best
        state = {
            "best_score": self.best_score if self.best is not None else None,
            "in_vain": self.in_vain,
            "evaluated_at": self.evaluated_at,
        }
        self.context.save(self.step, tensors, state)

    def resume(self) -> None:
        checkpoint = self.context.resumed
        if checkpoint is None or checkpoint.recipe_step != self.context.recipe_step or not checkpoint.step:
            return
        self.step = self.started_at_step = checkpoint.step
        self.evaluated_at = checkpoint.state["evaluated_at"]
        self.weights.put_state(checkpoint.section("weights"))
        losses = checkpoint.section("loss")
        self.losses = [losses[str(i)].to(self.context.device) for i in range(len(losses))]
        self.in_vain = checkpoint.state["in_vain"]
        if checkpoint.state["best_score"] is not None:
            first, second = checkpoint.state["best_score"]
            self.best_score = first, second
            self.best = checkpoint.tensors["best"].to(self.context.device)
        # A validation that was interrupted finds the model as the step before it had set it up.
        self.objective.prepare(self.step - 1, (self.step - 1) / self.total)
