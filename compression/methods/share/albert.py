"""An ALBERT that computes what a BERT or RoBERTa does, but for layers that share their weights."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import nn
from transformers import AlbertConfig, PreTrainedModel

from compression.architectures import anatomy, anatomy_of
from compression.checkpoints.facts import TaskType
from compression.errors import InputError, Problem
from compression.methods.share.embeddings import Vectors
from compression.methods.share.params import Start

LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}
"""What an ALBERT calls the parts of a layer."""
HEAD = {
    "bert.pooler.dense": "albert.pooler",
    "classifier.dense": "albert.pooler",  # RoBERTa's head is BERT's pooler and classifier
    "classifier.out_proj": "classifier",
    "classifier": "classifier",
    "qa_outputs": "qa_outputs",
    "cls.predictions.transform.dense": "predictions.dense",
    "cls.predictions.transform.LayerNorm": "predictions.LayerNorm",
    "cls.predictions": "predictions",
    "lm_head.dense": "predictions.dense",
    "lm_head.layer_norm": "predictions.LayerNorm",
    "lm_head": "predictions",
}
"""What it calls the parts of a head."""
KEPT = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "type_vocab_size", "initializer_range", "layer_norm_eps",
    "pad_token_id", "id2label", "label2id", "problem_type",
)  # fmt: skip
"""Keys of the config that both have."""


@torch.no_grad()
def albert_of(model: PreTrainedModel, task: TaskType, vectors: Vectors) -> PreTrainedModel:
    """The model as an ALBERT that shares no layers yet: with whole vectors it gives the same logits.

    Raises:
        InputError: no ALBERT's head gives what the model's gives.
    """
    own = anatomy_of(model)
    config: Any = AlbertConfig(
        **{name: getattr(model.config, name) for name in KEPT},
        embedding_size=vectors.words.shape[1],
        max_position_embeddings=len(vectors.positions),
        num_hidden_groups=model.config.num_hidden_layers,
        classifier_dropout_prob=_classifier_dropout(model),
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = model.config._attn_implementation
    if hasattr(model.config, "plankwright"):
        config.plankwright = model.config.plankwright
    albert: Any = anatomy("albert", task).model_class(config)
    weights = vectors.state()
    for index, layer in enumerate(own.layers_of(model)):
        group = f"albert.encoder.albert_layer_groups.{index}.albert_layers.0"
        weights |= {f"{group}.{name}": t for name, t in _renamed(layer.state_dict(), LAYER).items()}
    inside = {id(parameter) for path in own.head for parameter in model.get_submodule(path).parameters()}
    head = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in inside}
    if task == "fill-mask" and own.pieces is not None:
        _check_activation(model)
        head[own.pieces.bias] = model.get_parameter(own.pieces.bias)
    missing, unexpected = albert.load_state_dict(weights | _renamed(head, HEAD), strict=False)
    assert not unexpected
    assert set(missing) <= set(albert.all_tied_weights_keys), "they are there by another name"
    return cast(PreTrainedModel, albert.eval().to(model.device))


def _check_activation(model: PreTrainedModel) -> None:
    """The head of a RoBERTa has a GELU whatever its layers have, an ALBERT's has what its layers have."""
    if model.config.model_type != "bert" and model.config.hidden_act != "gelu":
        message = (
            f"its head has a GELU, and its layers {model.config.hidden_act}: an ALBERT has the same in both"
        )
        raise InputError(Problem("method_does_not_fit", message, "config.json#/hidden_act"))


@torch.no_grad()
def shared_layers(albert: PreTrainedModel, group_sizes: list[int], start: Start) -> list[nn.Module]:
    """A layer for each group of neighbouring ones, with weights that stand for theirs."""
    layers = list(anatomy_of(albert).layers_of(albert))
    groups = []
    for first, end in pairwise([0, *accumulate(group_sizes)]):
        group = deepcopy(layers[first], {id(albert.config): albert.config})
        group.load_state_dict(_joined([layer.state_dict() for layer in layers[first:end]], start))
        groups.append(group)
    return groups


def put_groups(albert: PreTrainedModel, groups: list[nn.Module]) -> None:
    """Make these layers all that the ALBERT has, each for as many of its depths."""
    albert.set_submodule(anatomy_of(albert).layers, nn.ModuleList(groups))
    albert.config.num_hidden_groups = len(groups)
    albert.requires_grad_(True)


def _joined(layers: list[dict[str, torch.Tensor]], start: Start) -> dict[str, torch.Tensor]:
    """The weights that stand for those of several layers."""
    match start:
        case "first":
            return layers[0]
        case "last":
            return layers[-1]
        case "mean":
            return {name: torch.stack([layer[name] for layer in layers]).mean(dim=0) for name in layers[0]}


def _renamed(weights: Mapping[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    paths = {name: name.rpartition(".") for name in weights}
    return {f"{names[path]}.{kind}": weights[name] for name, (path, _, kind) in paths.items()}


def _classifier_dropout(model: PreTrainedModel) -> float:
    own: float | None = model.config.classifier_dropout
    return model.config.hidden_dropout_prob if own is None else own
