"""Settings of TinyBERT distillation."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from compression.checkpoints.facts import Architecture, ModelFacts, TaskType
from compression.checkpoints.traits import architectures_with
from compression.errors import InputError, Problem
from compression.methods.layer_choice import ends_of, equal_modules
from compression.methods.named import NamedModel
from compression.methods.params import MethodParams
from compression.methods.shape import ModelShape
from compression.settings import Settings
from compression.training.params import Training

Weight = Annotated[float, Field(ge=0, le=10_000)]
Size = Annotated[int, Field(ge=1, le=100_000)]


class Augmentation(Settings):
    """Training texts with words exchanged for similar ones, drawn anew in every pass; the teacher labels them."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Of the words of one piece, those that are exchanged."""
    neighbours: Annotated[int, Field(ge=1, le=100)] = 15
    """Most similar words that one is drawn from: by the cosine of their rows in the embedding table, among the words of
    the training rows; or those that `model` finds likeliest in their place."""
    model: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Id of an uploaded masked language model that has the word pieces of the job's model, e.g. the one that it was
    fine-tuned from; without a server, the folder of a checkpoint."""


class LanguageModel(NamedModel):
    """Says which words may stand in the rows."""

    ROLE = "language model"
    PLACE = "/augmentation/model"

    def misfits(self, own: ModelFacts, model: ModelFacts) -> Iterator[Problem]:
        if own.task != "fill-mask":
            message = f"words are exchanged by a masked language model, and this one serves {own.task}"
            yield Problem("no_language_model", message, self.PLACE)
        if own.vocabulary != model.vocabulary or own.pad_token_id != model.pad_token_id:
            yield self.problem(
                "differs", "it must have the model's tokenizer: its word pieces have other ids"
            )


class TinyBertParams(MethodParams):
    """Train a shallower and, where asked for, narrower student to build the same states, then to answer the same."""

    PAPER: ClassVar[str] = (
        "Jiao et al., TinyBERT: Distilling BERT for Natural Language Understanding, Findings of EMNLP 2020"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with(
        "own_layers", "plain_scores", "two_maps", "full_embeddings"
    )
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)

    method: Literal["tinybert"] = "tinybert"
    student_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers of the student; half of the teacher's by default."""
    hidden_size: Size | None = None
    """Width of the student, a multiple of the attention heads, which are as many as the teacher's; its by default."""
    intermediate_size: Size | None = None
    """Feed-forward neurons in each layer of the student; by default in the teacher's proportion to the width."""
    mapping: Literal["uniform", "top", "bottom"] = "uniform"
    """Which teacher layers the student's start from and are held against: the last of each of `student_layers` equal
    parts, the last ones, or the first ones."""
    embedding_weight: Weight = 1.0
    """Weight of the mean squared difference of the embeddings."""
    hidden_weight: Weight = 1.0
    """Weight of that of hidden states."""
    attention_weight: Weight = 1.0
    """Weight of that of attention scores before the softmax."""
    prediction_from: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of the steps after which the student learns from the teacher's logits, and from its states no longer."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    augmentation: Augmentation | None = None
    training: Training = Training()

    @model_validator(mode="after")
    def _something_is_matched(self) -> Self:
        if not (self.embedding_weight or self.hidden_weight or self.attention_weight):
            raise ValueError(
                "all three weights are 0: the first stage would learn nothing; use distill instead"
            )
        return self

    @property
    def trains(self) -> Training:
        return self.training

    @property
    def shown_each_batch(self) -> bool:
        return True

    @property
    def named_models(self) -> tuple[NamedModel, ...]:
        named = self.augmentation and self.augmentation.model
        return (LanguageModel(named),) if named else ()

    def mapped(self, layers: int) -> list[int]:
        """For each student layer the teacher's, both counted from 1.

        Raises:
            InputError: the student would be deeper than the teacher.
        """
        count = self.student_layers or layers // 2
        if not 0 < count <= layers:
            message = f"the student cannot have more layers than the model's {layers}"
            raise InputError(Problem("successor_too_deep", message, "/student_layers"))
        match self.mapping:
            case "uniform":
                return ends_of(equal_modules(layers, count))
            case "top":
                return list(range(layers - count + 1, layers + 1))
            case "bottom":
                return list(range(1, count + 1))

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape, or would leave it as it is.
        """
        width = self.hidden_size or shape.hidden_size
        in_proportion = shape.intermediate_size * min(width, shape.hidden_size) // shape.hidden_size
        neurons = self.intermediate_size or in_proportion
        problems = []
        if shape.low_rank:
            message = "the weights are factorised: put the step tinybert before the step low_rank"
            problems.append(Problem("already_factorised", message))
        if shape.fewer_heads:
            message = "attention heads are removed: put the step tinybert before the step narrow"
            problems.append(Problem("heads_removed", message))
        if width > shape.hidden_size:
            message = f"the student cannot be wider than the model's {shape.hidden_size}"
            problems.append(Problem("student_too_wide", message, "/hidden_size"))
        if width < shape.hidden_size and shape.task == "sentence-similarity":
            message = (
                "embeddings of another width cannot be held against the model's: leave the width as it is"
            )
            problems.append(Problem("method_does_not_fit", message, "/hidden_size"))
        if width % shape.attention_heads:
            message = f"the width must be a multiple of the {shape.attention_heads} attention heads"
            problems.append(Problem("width_does_not_divide", message, "/hidden_size"))
        if not 0 < neurons <= shape.intermediate_size:
            message = (
                f"the student's layers cannot have more neurons than the model's {shape.intermediate_size}"
            )
            problems.append(Problem("student_too_wide", message, "/intermediate_size"))
        if problems:
            raise InputError(problems)
        layers = len(self.mapped(shape.layers))
        if (layers, width, neurons) == (shape.layers, shape.hidden_size, shape.intermediate_size):
            message = "the student would be as large as the model: ask for fewer layers or a smaller width"
            raise InputError(Problem("successor_too_deep", message, "/student_layers"))
        return shape.model_copy(update={"layers": layers, "hidden_size": width, "intermediate_size": neurons})
