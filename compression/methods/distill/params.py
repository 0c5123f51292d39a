"""Settings of knowledge distillation."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.traits import architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.layer_choice import LayerChoice, equal_modules
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.training.params import Distillation, Training

Weight = Annotated[float, Field(ge=0, le=10_000)]


class PatientTerm(Settings):
    """A pull of the normalised [CLS] states of inner layers to the teacher's (PKD)."""

    weight: Annotated[float, Field(gt=0, le=10_000)] = 0.2
    layers: Literal["skip", "last"] = "skip"
    """Teacher layers: those at even steps below the last one, or those right below it."""


class DistillParams(Settings):
    """Train a shallower student, begun from layers of the model, to imitate it."""

    PAPER: ClassVar[str] = (
        "Hinton et al., Distilling the Knowledge in a Neural Network, 2015; Sanh et al., DistilBERT, 2019; "
        "Sun et al., Patient Knowledge Distillation for BERT Model Compression, EMNLP 2019"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("own_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "soft_targets": {},
        "distilbert": {
            "initialization": "spread",
            "distillation": {"weight": 0.7, "temperature": 2.0},
            "cosine_weight": 0.15,
        },
        "patient": {
            "initialization": "first_layers",
            "distillation": {"weight": 0.5, "temperature": 10.0},
            "patient": {"weight": 0.2, "layers": "skip"},
        },
    }

    method: Literal["distill"] = "distill"
    preset: Literal["soft_targets", "distilbert", "patient"] = "soft_targets"
    """Where unset fields take their values from: plain distillation, or the choices of DistilBERT or PKD."""
    student_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers of the student; half of the teacher's by default."""
    initialization: LayerChoice = "module_last"
    """Which teacher layers the student starts from: the first ones, as PKD does; the first or the last of each of
    `student_layers` equal parts; or spread evenly over the whole depth, as DistilBERT does."""
    distillation: Distillation = Distillation()
    """The pull towards the teacher's logits."""
    cosine_weight: Weight = 0.0
    """Weight of 1 - cosine of the last hidden states (DistilBERT)."""
    patient: PatientTerm | None = None
    hidden_weight: Weight = 0.0
    """Weight of the mean squared difference of hidden states, each student layer against the last of its part."""
    attention_weight: Weight = 0.0
    """Weight of the mean squared difference of attention scores before the softmax, of the same layers."""
    training: Training = Training()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = cls.PRESETS.get(given.get("preset", "soft_targets"), {})
        return {**preset, **given}

    @property
    def trains(self) -> Training:
        """The training that this step does, for plans and estimates."""
        return self.training

    def partition(self, layers: int) -> list[int]:
        """Teacher layers for each student layer.

        Raises:
            InputError: the student would not be smaller, or is too shallow for the terms asked for.
        """
        count = self.student_layers or layers // 2
        if not 0 < count < layers:
            message = f"the student must have fewer layers than the model's {layers}"
            raise InputError(Problem("successor_too_deep", message, "/student_layers"))
        if self.patient and count < 2:
            message = "a student of one layer has no inner layers: leave the patient term out"
            raise InputError(Problem("no_inner_layers", message, "/patient"))
        return equal_modules(layers, count)

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        if shape.low_rank and self.attention_weight:
            message = "the weights are factorised: match attention before the step low_rank, or not at all"
            raise InputError(Problem("already_factorised", message, "/attention_weight"))
        if self.attention_weight and shape.architecture not in architectures_with("plain_scores"):
            message = (
                f"attention cannot be matched on {shape.architecture}: {what_it_lacks(shape.architecture)}"
            )
            raise InputError(Problem("method_does_not_fit", message, "/attention_weight"))
        return shape.model_copy(update={"layers": len(self.partition(shape.layers))})
