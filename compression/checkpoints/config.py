"""`config.json`: the keys that may reach transformers, each with its bounds, and what they say together."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compression.checkpoints.facts import Architecture, ProblemType, TaskType
from compression.errors import InputError, Problem

HEADS: dict[str, TaskType] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
}
NAMES: dict[Architecture, str] = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}
CLASSES: dict[Architecture, dict[str, TaskType]] = {
    architecture: {f"{name}{head}": task for head, task in HEADS.items()}
    for architecture, name in NAMES.items()
}
"""The classes of transformers that are accepted, and the task that each is for."""
LABELLED: tuple[TaskType, ...] = ("text-classification", "token-classification")
"""Tasks whose labels the config names."""
MAX_LABELS = 1000

REFUSED = {
    "auto_map": (
        "remote_code",
        "code that comes with a model is never run: remove auto_map, if the model works without",
    ),
    "quantization_config": (
        "quantized_checkpoint",
        "quantized weights cannot be trained: send the original checkpoint",
    ),
    "pruned_heads": ("unsupported_config", "pruned heads are not supported"),
    "is_decoder": ("unsupported_config", "only encoders are supported"),
    "add_cross_attention": ("unsupported_config", "cross attention is not supported"),
}
"""Keys that may only be absent or hold nothing."""

Layers = Annotated[int, Field(ge=1, le=128)]
Heads = Annotated[int, Field(ge=1, le=256)]
Width = Annotated[int, Field(ge=1, le=16_384)]
InnerWidth = Annotated[int, Field(ge=1, le=65_536)]
Vocabulary = Annotated[int, Field(ge=1, le=1_000_000)]
Positions = Annotated[int, Field(ge=4, le=65_536)]
TokenTypes = Annotated[int, Field(ge=1, le=16)]
TokenId = Annotated[int, Field(ge=0, lt=1_000_000)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=0.1)]
Deviation = Annotated[float, Field(ge=0, le=10)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Activation = Literal["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"]
Dtype = Literal["float32", "float16", "bfloat16"]


class Form(BaseModel):
    """How weights are stored that are not the architecture's own: see `plankwright_model.py`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    low_rank: Annotated[dict[str, Width], Field(max_length=2000)] = {}
    """Rank by path of the module."""
    packed: bool = False


class _Config(BaseModel):
    """What the architectures share. Keys not declared in these classes are dropped and reach nobody."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    architectures: list[str] | None = None
    vocab_size: Vocabulary
    max_position_embeddings: Positions
    pad_token_id: TokenId | None = 0
    initializer_range: Deviation = 0.02
    id2label: Annotated[dict[str, Label], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    label2id: Annotated[dict[str, int], Field(max_length=MAX_LABELS)] | None = None
    num_labels: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    dtype: Dtype | None = None
    torch_dtype: Dtype | None = None
    plankwright: Form | None = None

    @property
    def labels(self) -> list[str]:
        """Names by class id, those of transformers where the config gives none."""
        if self.id2label is not None:
            return [self.id2label[str(i)] for i in range(len(self.id2label))]
        return [f"LABEL_{i}" for i in range(self.num_labels or 2)]

    @property
    def max_length(self) -> int:
        return self.max_position_embeddings


class _BertLikeConfig(_Config):
    hidden_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Heads
    intermediate_size: InnerWidth
    type_vocab_size: TokenTypes = 2
    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Rate = 0.1
    attention_probs_dropout_prob: Rate = 0.1
    classifier_dropout: Rate | None = None
    layer_norm_eps: Epsilon = 1e-12


class BertConfig(_BertLikeConfig):
    model_type: Literal["bert"]


class RobertaConfig(_BertLikeConfig):
    model_type: Literal["roberta"]
    pad_token_id: TokenId = 1

    @property
    def max_length(self) -> int:
        """Positions are counted from the padding id + 1."""
        return self.max_position_embeddings - self.pad_token_id - 1


class DistilBertConfig(_Config):
    model_type: Literal["distilbert"]
    dim: Width
    n_layers: Layers
    n_heads: Heads
    hidden_dim: InnerWidth
    sinusoidal_pos_embds: bool = False
    activation: Activation = "gelu"
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.1
    seq_classif_dropout: Rate = 0.2
    qa_dropout: Rate = 0.1

    @property
    def hidden_size(self) -> int:
        return self.dim

    @property
    def num_hidden_layers(self) -> int:
        return self.n_layers

    @property
    def num_attention_heads(self) -> int:
        return self.n_heads

    @property
    def intermediate_size(self) -> int:
        return self.hidden_dim


CheckedConfig = BertConfig | RobertaConfig | DistilBertConfig
_MODELS: dict[str, type[CheckedConfig]] = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "distilbert": DistilBertConfig,
}


def parse_config(raw: dict[str, Any]) -> CheckedConfig:
    """Judge the content of a `config.json`.

    Raises:
        InputError: every problem found.
    """
    problems = [_problem(key, *why) for key, why in REFUSED.items() if raw.get(key)]
    if raw.get("position_embedding_type", "absolute") != "absolute":
        problems.append(
            _problem("position_embedding_type", "unsupported_config", "only absolute positions are supported")
        )
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in _MODELS:
        message = f"supported are the model types {', '.join(_MODELS)}"
        raise InputError([*problems, _problem("model_type", "unsupported_architecture", message)])
    try:
        config = _MODELS[model_type].model_validate(raw)
    except ValidationError as error:
        wrong = {
            str(detail["loc"][0]): detail["msg"]
            for detail in error.errors(include_url=False, include_input=False)
        }
        problems += [_problem(key, "invalid_config_value", message) for key, message in wrong.items()]
        raise InputError(problems) from error
    wrong_class = _class_problems(config)
    problems += wrong_class + _size_problems(config)
    if not wrong_class and task_of(config) in LABELLED:
        problems += _label_problems(config)
    if problems:
        raise InputError(problems)
    return config


def task_of(config: CheckedConfig) -> TaskType:
    """The task of the class that the config names; text classification where it names none."""
    if config.architectures is None:
        return "text-classification"
    return CLASSES[config.model_type][config.architectures[0]]


def problem_type_of(config: CheckedConfig) -> ProblemType:
    """The kind of a text classifier."""
    if config.problem_type == "multi_label_classification":
        return "multi_label"
    return "regression" if len(config.labels) == 1 else "single_label"


def _class_problems(config: CheckedConfig) -> list[Problem]:
    accepted = CLASSES[config.model_type]
    if config.architectures is None or (
        len(config.architectures) == 1 and config.architectures[0] in accepted
    ):
        return []
    names = ", ".join(accepted)
    if any(name.endswith(("Model", "ForMaskedLM", "ForPreTraining")) for name in config.architectures):
        message = f"the model was saved without the head of a task: fine-tune it and save one of {names}"
        return [_problem("architectures", "no_task_head", message)]
    message = f"for {config.model_type}, supported are {names}"
    return [_problem("architectures", "unsupported_architecture", message)]


def _size_problems(config: CheckedConfig) -> list[Problem]:
    problems = []
    if config.hidden_size % config.num_attention_heads:
        message = f"{config.hidden_size} is not divisible by the {config.num_attention_heads} attention heads"
        problems.append(
            _problem(
                "dim" if config.model_type == "distilbert" else "hidden_size", "inconsistent_config", message
            )
        )
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        message = f"{config.pad_token_id} is outside the vocabulary of {config.vocab_size}"
        problems.append(_problem("pad_token_id", "inconsistent_config", message))
    if config.max_length < 4:
        message = "there is no room for two words and two special tokens"
        problems.append(_problem("max_position_embeddings", "inconsistent_config", message))
    return problems


def _label_problems(config: CheckedConfig) -> list[Problem]:
    def wrong(key: str, message: str) -> Problem:
        return _problem(key, "inconsistent_labels", message)

    if config.id2label is not None and config.id2label.keys() != {
        str(i) for i in range(len(config.id2label))
    }:
        return [wrong("id2label", f"its keys are not the class ids 0 to {len(config.id2label) - 1}")]
    labels = config.labels
    problems = []
    if len(set(labels)) < len(labels):
        problems.append(wrong("id2label", "two classes have the same name"))
    if not all(label.isprintable() for label in labels):
        problems.append(wrong("id2label", "a name holds control characters"))
    if config.num_labels not in (None, len(labels)):
        problems.append(
            wrong("num_labels", f"it says {config.num_labels}, but id2label has {len(labels)} classes")
        )
    # Configs whose id2label was set by hand often keep the generic inverse.
    generic = {f"LABEL_{i}": i for i in range(len(labels))}
    if config.label2id and config.label2id not in ({label: i for i, label in enumerate(labels)}, generic):
        problems.append(wrong("label2id", "it is not the inverse of id2label"))
    if task_of(config) != "text-classification":
        return problems
    if config.problem_type in ("regression", "single_label_classification") and (
        config.problem_type == "regression"
    ) != (len(labels) == 1):
        problems.append(wrong("problem_type", f"{config.problem_type} does not go with {len(labels)} labels"))
    return problems


def _problem(key: str, code: str, message: str) -> Problem:
    return Problem(code, message, f"config.json#/{key}")
