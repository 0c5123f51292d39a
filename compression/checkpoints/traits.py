"""What methods need of an architecture, and which architectures lack it."""

from typing import Literal, get_args

from compression.checkpoints.facts import Architecture

Trait = Literal[
    "own_layers",
    "plain_scores",
    "two_maps",
    "full_embeddings",
    "first_sees_all",
    "tanh_head",
    "transformer_layers",
]
"""Each layer has weights of its own; attention scores are Q K^T / sqrt(d) of what two maps give; two maps with biases
make the feed-forward part; embeddings are as wide as the layers; the first position sees all others; a text's head has
a tanh, as BERT's and ALBERT's; layers are a Transformer's, whose matrices are linear maps."""

LACKING: dict[Architecture, dict[Trait, str]] = {
    "distilbert": {"tanh_head": "its head has a ReLU"},
    "electra": {
        "full_embeddings": "its embeddings have a width of their own",
        "tanh_head": "its head has a GELU",
    },
    "albert": {
        "own_layers": "its layers share their weights",
        "full_embeddings": "its embeddings have a width of their own",
    },
    "mpnet": {"plain_scores": "relative positions are added to its attention scores"},
    "deberta-v2": {
        "plain_scores": "its attention scores have terms of relative positions, with maps of their own"
    },
    "modernbert": {
        "plain_scores": "its queries, keys and values come out of one matrix and are turned by their positions",
        "two_maps": "its neurons have gates",
        "tanh_head": "its head has a GELU",
    },
    "gpt2": {
        "plain_scores": "its queries, keys and values come out of one matrix",
        "first_sees_all": "its first position sees itself alone",
        "tanh_head": "its head is one linear map",
    },
    "bilstm": dict.fromkeys(get_args(Trait), "its layers are LSTMs"),
}
"""Why a method that needs a trait cannot serve an architecture."""


def architectures_with(*traits: Trait) -> tuple[Architecture, ...]:
    """The architectures that lack none of the traits."""
    every: tuple[Architecture, ...] = get_args(Architecture)
    return tuple(name for name in every if not LACKING.get(name, {}).keys() & set(traits))


def what_it_lacks(architecture: Architecture, *traits: Trait) -> str:
    """Of the traits, or of all, in words."""
    lacking = LACKING.get(architecture, {})
    return "; ".join(dict.fromkeys(why for trait, why in lacking.items() if trait in traits or not traits))
