"""What a running recipe shares with its steps: data, events, the wish to stop, checkpoints."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from compression.checkpoints.loading import Source
from compression.data.encoding import Encoded
from compression.errors import Stopped
from compression.events import AliveEvent, EventWriter, MetricEvent, WarningEvent
from compression.tasks.columns import MetricName
from compression.tasks.resolution import Task
from compression.training.checkpoint import Checkpoint, write_checkpoint
from compression.training.params import Training

ALIVE_SECONDS = 30.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TaskData:
    """The encoded rows of a job."""

    task: Task
    metric: MetricName
    train: Encoded
    selection: Encoded | None
    """Rows that choose the best weights during training: the validation split, where there is one."""
    evaluation: Encoded
    """Rows that the report is about."""
    reference: npt.NDArray[np.float32] | None = None
    """The original's logits for the rows of `selection`: of equally good weights, those closer to it are kept."""


@dataclass(slots=True)
class Context:
    """One run. `recipe_step` is the step of the recipe at work, `done` the training steps of those before it."""

    source: Source
    device: torch.device
    dtype: torch.dtype
    """Type of matrix products during training."""
    seed: int
    emit: EventWriter
    stop_requested: Callable[[], bool]
    checkpoint_folder: Path
    checkpoint_seconds: float
    total_steps: int
    cache: Path | None = None
    """Folder of what is kept between runs."""
    resumed: Checkpoint | None = None
    recipe_step: int = 0
    done: int = 0
    step_input: dict[str, torch.Tensor] | None = None
    """Weights that the recipe step at work began with, where they are not the source's."""
    step_config: dict[str, Any] | None = None
    """The config that belongs to them."""
    models: dict[str, Path] = field(default_factory=dict)
    """Folders of the models that steps name beside the source."""
    datasets: dict[str, Path] = field(default_factory=dict)
    """Folders of the datasets that steps name beside the job's rows."""
    decisions: dict[str, Any] = field(default_factory=dict)
    """What the recipe step at work has settled for good before its training."""
    changed_tokenizer: str | None = None
    """Content of the tokenizer.json of the model at hand, where a step has changed the source's."""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the steps found out and decided, for the report."""
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    saved_at: float = field(default_factory=time.monotonic)
    saving_seconds: float = 0.0
    """What the last checkpoint took."""
    alive_at: float = field(default_factory=time.monotonic)

    def tokenizer_json(self) -> str:
        """Content of the tokenizer.json of the model at hand."""
        return self.changed_tokenizer or self.source.tokenizer.backend_tokenizer.to_str()

    def warn(self, code: str, message: str) -> None:
        """Tell once, live and in the report."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.emit(WarningEvent(code=code, message=message))

    def decide(self, name: str, find: Callable[[], T]) -> T:
        """What `find` finds, once per recipe step: it is kept in a checkpoint, so that an interruption changes nothing.

        The decision must be plain JSON.
        """
        if name not in self.decisions:
            self.decisions[name] = find()
            self.save(0, {}, {})
        decided: T = self.decisions[name]
        return decided

    def note(self, message: str) -> None:
        """Tell once, in the report."""
        if message not in self.notes:
            self.notes.append(message)

    def dtype_for(self, training: Training) -> torch.dtype:
        """Type of matrix products during a training."""
        return torch.float32 if training.precision == "float32" else self.dtype

    def tell(self, step: int, values: dict[str, float]) -> None:
        """Values measured after `step` training steps of the recipe step at work: live, and for the curves."""
        self.emit(MetricEvent(step=self.done + step, values=values))
        for name, value in values.items():
            self.curves.setdefault(name, []).append((self.done + step, value))

    def stop_if_requested(self, save: Callable[[], None] | None = None) -> None:
        """Without `save` for work that is repeated after an interruption: the last checkpoint stands for it."""
        if self.stop_requested():
            if save:
                save()
            raise Stopped
        if time.monotonic() - self.alive_at >= ALIVE_SECONDS:
            self.emit(AliveEvent())
            self.alive_at = time.monotonic()

    def checkpoint_due(self) -> bool:
        """After `checkpoint_seconds`, up to twice as late where that keeps checkpoints under 2 % of the time."""
        pause = max(self.checkpoint_seconds, min(self.saving_seconds * 50, self.checkpoint_seconds * 2))
        return time.monotonic() - self.saved_at >= pause

    def save(self, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint of the recipe step at work after `step` of its training steps."""
        if self.step_input is not None:
            tensors = tensors | {f"input.{name}": tensor for name, tensor in self.step_input.items()}
        shared = {
            "warnings": self.warnings,
            "notes": self.notes,
            "curves": self.curves,
            "config": self.step_config,
            "decisions": self.decisions,
            "tokenizer": self.changed_tokenizer,
        }
        checkpoint = Checkpoint(self.recipe_step, step, tensors, state | shared)
        started = time.monotonic()
        write_checkpoint(checkpoint, self.checkpoint_folder, self.emit)
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - started
