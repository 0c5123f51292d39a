"""`config.json`, judged: each key by its bounds, and what they say together."""

from typing import Any

from pydantic import ValidationError

from compression.checkpoints.bodies import BODIES
from compression.checkpoints.config_keys import (
    CONFIGS,
    AlbertConfig,
    CheckedConfig,
    DebertaV2Config,
    ModernBertConfig,
)
from compression.checkpoints.facts import TIED, Architecture, ProblemType, TaskType
from compression.errors import InputError, Problem

HEADS: dict[str, TaskType] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "Model": "sentence-similarity",
    "LMHeadModel": "text-generation",
}
CLASSES: dict[Architecture, dict[str, TaskType]] = {
    architecture: {f"{body.name}{head}": task for head, task in HEADS.items() if task in body.heads}
    for architecture, body in BODIES.items()
}
"""The classes of transformers that are accepted, and the task that each is for."""
LABELLED: tuple[TaskType, ...] = ("text-classification", "token-classification")
"""Tasks whose labels the config names."""
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
    "scale_attn_by_inverse_layer_idx": (
        "unsupported_config",
        "layers that depend on their number cannot become others",
    ),
    "conv_kernel_size": (
        "unsupported_config",
        "a convolution behind the first layer belongs to no layer: DeBERTa-v3 has none",
    ),
}
"""Keys that may only be absent or hold nothing."""


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
    if not isinstance(model_type, str) or model_type not in CONFIGS:
        message = f"supported are the model types {', '.join(CONFIGS)}"
        raise InputError([*problems, _problem("model_type", "unsupported_architecture", message)])
    try:
        config = CONFIGS[model_type].model_validate(raw)
    except ValidationError as error:
        wrong = {
            str(detail["loc"][0]): detail["msg"]
            for detail in error.errors(include_url=False, include_input=False)
        }
        problems += [_problem(key, "invalid_config_value", message) for key, message in wrong.items()]
        raise InputError(problems) from error
    wrong_class = _class_problems(config)
    problems += wrong_class + _size_problems(config, raw)
    if not wrong_class and task_of(config) in LABELLED:
        problems += _label_problems(config)
    if not wrong_class and needs_padding(config) and config.pad_token_id is None:
        message = (
            "without it the last word piece of a padded row is not known: set it, and tokenizer.pad_token"
        )
        problems.append(_problem("pad_token_id", "missing_pad_token", message))
    if not wrong_class and task_of(config) in TIED and not config.tie_word_embeddings:
        message = (
            "a head with a table of its own is not supported: only one that shares it with the embeddings is"
        )
        problems.append(_problem("tie_word_embeddings", "unsupported_config", message))
    if problems:
        raise InputError(problems)
    return config


def task_of(config: CheckedConfig) -> TaskType:
    """The task of the class that the config names; text classification where it names none."""
    if config.architectures is None:
        return "text-classification"
    return CLASSES[config.model_type][config.architectures[0]]


def needs_padding(config: CheckedConfig) -> bool:
    """Whether a row is answered at its last piece, which is the last that is no padding."""
    return BODIES[config.model_type].causal and task_of(config) == "text-classification"


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
    if any(name.endswith("ForPreTraining") for name in config.architectures):
        message = f"the model was saved without the head of a task: fine-tune it and save one of {names}"
        return [_problem("architectures", "no_task_head", message)]
    message = f"for {config.model_type}, supported are {names}"
    return [_problem("architectures", "unsupported_architecture", message)]


def _size_problems(config: CheckedConfig, raw: dict[str, Any]) -> list[Problem]:
    problems = []
    if config.num_attention_heads and config.hidden_size % config.num_attention_heads:
        message = f"{config.hidden_size} is not divisible by the {config.num_attention_heads} attention heads"
        problems.append(_problem(config.WIDTH, "inconsistent_config", message))
    if isinstance(config, DebertaV2Config):
        problems += _deberta_problems(config, raw)
    if isinstance(config, AlbertConfig) and config.num_hidden_groups > config.num_hidden_layers:
        message = f"there are {config.num_hidden_groups} groups for {config.num_hidden_layers} layers"
        problems.append(_problem("num_hidden_groups", "inconsistent_config", message))
    if isinstance(config, ModernBertConfig):
        problems += _modernbert_problems(config)
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        message = f"{config.pad_token_id} is outside the vocabulary of {config.vocab_size}"
        problems.append(_problem("pad_token_id", "inconsistent_config", message))
    if config.max_length < 4:
        message = "there is no room for two words and two special tokens"
        problems.append(_problem(config.POSITIONS, "inconsistent_config", message))
    return problems


def _deberta_problems(config: DebertaV2Config, raw: dict[str, Any]) -> list[Problem]:
    """Widths that the config may tell apart, and that all known checkpoints have alike."""
    alike = {
        "embedding_size": config.hidden_size,
        "pooler_hidden_size": config.hidden_size,
        "attention_head_size": config.hidden_size // config.num_attention_heads,
    }
    return [
        _problem(key, "unsupported_config", f"only {width} is supported here")
        for key, width in alike.items()
        if raw.get(key, width) != width
    ]


def _modernbert_problems(config: ModernBertConfig) -> list[Problem]:
    problems = []
    if config.hidden_size // config.num_attention_heads % 2:
        message = "the width of a head must be even: positions turn its numbers in pairs"
        problems.append(_problem("num_attention_heads", "inconsistent_config", message))
    if config.layer_types is not None and len(config.layer_types) != config.num_hidden_layers:
        message = f"it names {len(config.layer_types)} layers of {config.num_hidden_layers}"
        problems.append(_problem("layer_types", "inconsistent_config", message))
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
