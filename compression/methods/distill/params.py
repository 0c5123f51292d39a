"""Settings of knowledge distillation."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from compression.checkpoints.facts import TIED, Architecture, ModelFacts, TaskType
from compression.checkpoints.traits import Trait, architectures_with, what_it_lacks
from compression.errors import InputError, Problem
from compression.methods.layer_choice import LayerChoice, equal_modules, growing_modules
from compression.methods.named import NamedModel
from compression.methods.params import MethodParams
from compression.methods.shape import ModelShape
from compression.settings import Settings, on_top_of
from compression.tasks.columns import BaseTask
from compression.training.params import Distillation, Training

Weight = Annotated[float, Field(ge=0, le=10_000)]


class PatientTerm(Settings):
    """A pull of the normalised [CLS] states of inner layers to the teacher's (PKD)."""

    weight: Annotated[float, Field(gt=0, le=10_000)] = 0.2
    layers: Literal["skip", "last"] = "skip"
    """Teacher layers: those at even steps below the last one, or those right below it."""


class GivenStudent(Settings):
    """A student that is a model of its own: same architecture, task, labels and vocabulary, any size."""

    type: Literal["model"] = "model"
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    """Id of an uploaded model; without a server, the folder of a checkpoint."""
    shape: ModelShape | None = None
    """What that model is like: filled in when the job is submitted, whatever a request says."""


class BiLstmStudent(Settings):
    """A student that is no Transformer: LSTMs that read the word pieces in both directions (Tang et al. 2019)."""

    TASKS: ClassVar[tuple[TaskType, ...]] = ("text-classification", "token-classification")

    type: Literal["bilstm"]
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = 256
    """Numbers of a state, in each direction."""
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    embedding_size: Annotated[int, Field(ge=1, le=4096)] = 128
    """Width of its table of word pieces: the teacher's, reduced to as many directions by SVD where that is wider."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape of the student of a model."""
        return ModelShape(
            architecture="bilstm",
            task=shape.task,
            layers=self.layers,
            hidden_size=self.hidden_size,
            attention_heads=0,
            intermediate_size=0,
            vocabulary_size=shape.vocabulary_size,
            pieces=shape.pieces,
            required_pieces=shape.required_pieces,
        )


Student = Annotated[GivenStudent | BiLstmStudent, Field(discriminator="type")]


class StudentModel(NamedModel):
    """Learns to answer as the job's model does."""

    ROLE = "student"
    PLACE = "/student/model"

    def misfits(self, own: ModelFacts, model: ModelFacts) -> Iterator[Problem]:
        for what, has, wanted in (
            ("architecture", own.architecture, model.architecture),
            ("task", own.task, model.task),
            ("problem type", own.problem_type, model.problem_type),
            ("labels", own.labels[:20], model.labels[:20]),
            ("number of labels", len(own.labels), len(model.labels)),
            ("way to make one vector of a text", _embedding(own), _embedding(model)),
            ("pad_token_id", own.pad_token_id, model.pad_token_id),
            ("number of word pieces to answer with", _answers(own), _answers(model)),
        ):
            if has != wanted:
                yield self.problem(
                    "differs", f"the student must have the model's {what}, {wanted}, and has {has}"
                )
        if own.vocabulary != model.vocabulary:
            message = "the student must have the model's tokenizer: its word pieces have other ids"
            yield self.problem("differs", message)

    def misreads(self, own: ModelFacts, model: ModelFacts, task: BaseTask) -> Iterator[Problem]:
        if task.reads_pairs and own.token_types == 1 and model.token_types not in (None, 1):
            message = "the second text of a pair has a token type of its own, and the student knows one type alone: "
            message += "give it two (type_vocab_size)"
            yield self.problem("differs", message)


def _embedding(model: ModelFacts) -> str | None:
    """What two embeddings of a text must have in common to be compared."""
    if model.sentence is None:
        return None
    length = ", length 1" if model.sentence.normalize else ""
    return f"{model.sentence.pooling} of {model.hidden_size} channels{length}"


def _answers(model: ModelFacts) -> int | None:
    """How many word pieces it may answer with: rows of its table, which may have more than the tokenizer has pieces."""
    return model.vocabulary_size if model.task in TIED else None


class DistillParams(MethodParams):
    """Train a smaller student to imitate the model: one of its layers, a model of its own, or a recurrent one."""

    PAPER: ClassVar[str] = (
        "Hinton et al., Distilling the Knowledge in a Neural Network, 2015; Sanh et al., DistilBERT, 2019; "
        "Sun et al., Patient Knowledge Distillation for BERT Model Compression, EMNLP 2019; "
        "Tang et al., Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, 2019"
    )
    ARCHITECTURES: ClassVar[tuple[Architecture, ...]] = architectures_with("own_layers")
    TASKS: ClassVar[tuple[TaskType, ...]] = get_args(TaskType)
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "soft_targets": {},
        "growing": {"modules": "growing", "training": {"learning_rate": 2e-4, "clip_norm": 1.0}},
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
        "bilstm": {
            "student": {"type": "bilstm"},
            "distillation": {"weight": 0.9, "temperature": 4.0},
            "training": {"learning_rate": 2e-3, "clip_norm": 1.0, "precision": "float32"},
        },
    }

    method: Literal["distill"] = "distill"
    student: Student | None = None
    """The student, where it is not to be made of the model's own layers: `{"model": ...}` or `{"type": "bilstm"}`."""
    preset: Literal["soft_targets", "growing", "distilbert", "patient", "bilstm"] = "soft_targets"
    """Where unset fields take their values from: plain distillation; the same for a student whose layers stand for
    growing parts of the teacher, with larger steps; the choices of DistilBERT or PKD; or what suits LSTMs, which a
    student of the type `bilstm` always has."""
    student_layers: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Layers of the student; half of the teacher's by default."""
    modules: Literal["equal", "growing"] = "equal"
    """How the teacher's layers are cut into parts, one for each student layer: as equally as possible, or growing with
    the depth, as early layers are the hardest to do without."""
    initialization: LayerChoice = "module_last"
    """Which teacher layers the student starts from: the first ones, as PKD does; the first or the last of each part; or
    spread evenly over the whole depth, as DistilBERT does."""
    fitted: bool = False
    """Whether the two maps of each student layer that add to the states are fitted by least squares, before any
    training, to what its part of the teacher puts out: of a student made of the model's layers. Its neurons then are
    those of the last layer of the part, and the layer it starts from is the one it attends as."""
    distillation: Distillation = Distillation()
    """The pull towards the teacher's logits."""
    cosine_weight: Weight = 0.0
    """Weight of 1 - cosine of the last hidden states (DistilBERT)."""
    patient: PatientTerm | None = None
    hidden_weight: Weight = 0.0
    """Weight of the mean squared difference of hidden states, each student layer against the last of its part; those of
    a student of another width go through a learnt projection."""
    attention_weight: Weight = 0.0
    """Weight of the mean squared difference of attention scores before the softmax, of the same layers."""
    training: Training = Training()

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if self.student is not None and self.student_layers is not None:
            raise ValueError(
                "student_layers is for a student made of the model's layers: leave it or student out"
            )
        if isinstance(self.student, BiLstmStudent) != (self.preset == "bilstm"):
            raise ValueError("the preset bilstm and a student of that type go together: leave the preset out")
        return self

    @field_validator("student", mode="before")
    @classmethod
    def _model_where_nothing_is_said(cls, given: Any) -> Any:
        return {"type": "model", **given} if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        student = given.get("student")
        recurrent = isinstance(student, dict) and student.get("type") == "bilstm"
        name = given.get("preset", "bilstm" if recurrent else "soft_targets")
        merged = on_top_of(cls.PRESETS.get(name, {}), given, "training", "distillation", "patient")
        return {**merged, "preset": name}

    @property
    def trains(self) -> Training:
        return self.training

    @property
    def shown_each_batch(self) -> bool:
        return bool(self.cosine_weight or self.patient or self.hidden_weight or self.attention_weight)

    @property
    def named_models(self) -> tuple[NamedModel, ...]:
        return (StudentModel(self.student.model),) if isinstance(self.student, GivenStudent) else ()

    def with_models(self, others: Mapping[str, ModelFacts]) -> Self:
        if not isinstance(self.student, GivenStudent):
            return self
        shape = ModelShape.of(others[self.student.model])
        return self.model_copy(update={"student": self.student.model_copy(update={"shape": shape})})

    def partition(self, layers: int) -> list[int]:
        """Teacher layers for each student layer.

        Raises:
            InputError: the student would not be smaller, or is too shallow for the terms asked for.
        """
        given = self.given_shape
        count = given.layers if given else self.student_layers or layers // 2
        if not given and not 0 < count < layers:
            message = f"the student must have fewer layers than the model's {layers}"
            raise InputError(Problem("successor_too_deep", message, "/student_layers"))
        if self.patient and count < 2:
            message = "a student of one layer has no inner layers: leave the patient term out"
            raise InputError(Problem("no_inner_layers", message, "/patient"))
        return (equal_modules if self.modules == "equal" else growing_modules)(layers, count)

    def resulting(self, shape: ModelShape) -> ModelShape:
        """The shape this step leaves.

        Raises:
            InputError: the step cannot be applied to a model of this shape.
        """
        if isinstance(self.student, BiLstmStudent):
            self._check_recurrent(self.student, shape)
            return self.student.resulting(shape)
        student = self.given_shape
        if self.attention_weight and (shape.low_rank or (student and student.low_rank)):
            message = "the weights are factorised: match attention before the step low_rank, or not at all"
            raise InputError(Problem("already_factorised", message, "/attention_weight"))
        if self.attention_weight and (shape.fewer_heads or (student and student.fewer_heads)):
            message = "attention heads are removed: match attention before the step narrow, or not at all"
            raise InputError(Problem("heads_removed", message, "/attention_weight"))
        terms: list[tuple[object, str, Trait]] = [
            (self.attention_weight, "attention_weight", "plain_scores"),
            (self.patient, "patient", "first_sees_all"),
        ]
        for wanted, name, need in terms:
            if wanted and shape.architecture not in architectures_with(need):
                message = (
                    f"the term does not fit {shape.architecture}: {what_it_lacks(shape.architecture, need)}"
                )
                raise InputError(Problem("method_does_not_fit", message, f"/{name}"))
        if student is not None:
            self._check_given(student, shape)
            return student
        return shape.model_copy(update={"layers": len(self.partition(shape.layers))})

    @property
    def given_shape(self) -> ModelShape | None:
        """The shape of a student that is a model of its own."""
        return self.student.shape if isinstance(self.student, GivenStudent) else None

    def _check_recurrent(self, student: BiLstmStudent, shape: ModelShape) -> None:
        """Refuse tasks without such a model, and terms that compare layers."""
        if shape.task not in student.TASKS:
            message = f"a BiLSTM does not serve the task {shape.task}, only {', '.join(student.TASKS)}"
            raise InputError(Problem("method_does_not_fit", message, "/student/type"))
        for name in ("cosine_weight", "patient", "hidden_weight", "attention_weight"):
            if getattr(self, name):
                message = "a BiLSTM has no layers that could be held against the model's: leave the term out"
                raise InputError(Problem("method_does_not_fit", message, f"/{name}"))

    def _check_given(self, student: ModelShape, shape: ModelShape) -> None:
        """Refuse terms that compare what cannot be compared."""
        compares_directly = self.cosine_weight or self.patient
        if student.layers > shape.layers and (
            compares_directly or self.hidden_weight or self.attention_weight
        ):
            message = f"the student has {student.layers} layers, the model {shape.layers}: its layers cannot be paired"
            raise InputError(Problem("student_too_deep", message, "/student/model"))
        if student.hidden_size != shape.hidden_size and compares_directly:
            message = (
                f"the student's states have {student.hidden_size} numbers, the model's {shape.hidden_size}: "
            )
            message += "leave out the terms cosine_weight and patient; hidden_weight projects them"
            raise InputError(Problem("student_differs", message, "/student/model"))
        self.partition(shape.layers)
