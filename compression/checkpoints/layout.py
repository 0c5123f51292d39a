"""The weights that each architecture has, by the names of transformers: what a checkpoint must hold, and may."""

import re
from collections.abc import Iterator

from compression.checkpoints.bodies import BODIES, Body, body_for
from compression.checkpoints.config import task_of
from compression.checkpoints.config_keys import (
    AlbertConfig,
    BiLstmConfig,
    CheckedConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    Gpt2Config,
    ModernBertConfig,
    MPNetConfig,
)
from compression.checkpoints.facts import TIED

Shape = tuple[int, ...]

HARMLESS = re.compile(
    r"((bert|roberta|distilbert|electra|mpnet|albert|deberta)\.)?embeddings\.(position_ids|token_type_ids)"
    # Buffers and an unused layer that older versions of transformers saved.
    r"|((bert|roberta|mpnet)\.)?pooler\.dense\.(weight|bias)"
    r"|cls\.seq_relationship\.(weight|bias)"
    r"|deberta\.embeddings\.position_embeddings\.weight"
    r"|(albert\.)?pooler\.(weight|bias)"
    r"|transformer\.h\.\d+\.attn\.(bias|masked_bias)"
    r"|sop_classifier\.classifier\.(weight|bias)"
)
"""Extra tensors that change nothing."""


def is_head(name: str) -> bool:
    heads = (
        "classifier.",
        "score.",
        "pre_classifier.",
        "qa_outputs.",
        "cls.predictions.",
        "lm_head.",
        "vocab_",
        "generator_",
        "predictions.",
        "decoder.",
    )
    return name.startswith(heads)


def tied_tensors(config: CheckedConfig) -> dict[str, str]:
    """Weights that a checkpoint may hold a second time, and the names that they are known by."""
    body = BODIES[config.model_type]
    if task_of(config) == "text-generation":
        return {"lm_head.weight": f"{body.word_embeddings}.weight"}
    if task_of(config) != "fill-mask" or body.pieces is None:
        return {}
    twice = {f"{body.pieces.decoder}.weight": f"{body.word_embeddings}.weight"}
    return twice | {f"{body.pieces.decoder}.bias": body.pieces.bias}


def expected_tensors(config: CheckedConfig) -> dict[str, Shape]:
    """Name and shape of every weight of a model with this config."""
    body = BODIES[config.model_type]
    shapes = {f"{body.embeddings}.{name}": shape for name, shape in _embeddings(config)}
    shapes |= {f"{body.root}.{name}": shape for name, shape in _beside_the_layers(config)}
    stored = config.num_hidden_groups if isinstance(config, AlbertConfig) else config.num_hidden_layers
    for index in range(stored):
        shapes |= {f"{body.layers}.{index}.{name}": shape for name, shape in _layer(config, body, index)}
    shapes |= dict(_head(config))
    if task_of(config) == "sentence-similarity":
        shapes = {name.removeprefix(f"{body.root}."): shape for name, shape in shapes.items()}
    if config.plankwright is None:
        return shapes
    for path, (inputs, outputs) in config.plankwright.sizes.items():
        shapes |= dict(_linear(path, outputs, inputs))
    return _factorised(body_for(config.model_type, task_of(config)), shapes, config.plankwright.low_rank)


def _factorised(body: Body, shapes: dict[str, Shape], ranks: dict[str, int]) -> dict[str, Shape]:
    """With two factors in the place of each weight that has a rank: see `plankwright_model.py`."""
    result: dict[str, Shape] = {}
    for name, shape in shapes.items():
        path, kind = name.rsplit(".", 1)
        if path not in ranks:
            result[name] = shape
        elif kind == "bias":
            result[f"{path}.up.bias"] = shape
        else:
            table = path == body.word_embeddings
            rank, (rows, columns) = ranks[path], shape[::-1] if body.transposed and not table else shape
            result[f"{path}.down.weight"] = (rows, rank) if table else (rank, columns)
            result[f"{path}.up.weight"] = (columns, rank) if table else (rows, rank)
    return result


def may_be_factorised(config: CheckedConfig) -> set[str]:
    """Paths of the modules whose weight is a matrix of the layers or the table of the word pieces."""
    body = body_for(config.model_type, task_of(config))
    whole = expected_tensors(config.model_copy(update={"plankwright": None}))
    table = None if task_of(config) in TIED else f"{body.word_embeddings}.weight"
    return {
        name.removesuffix(".weight")
        for name, shape in whole.items()
        if len(shape) == 2
        and ((name.startswith(f"{body.layers}.") and name.endswith(".weight")) or name == table)
    }


def _embeddings(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width = _embedding_width(config)
    if isinstance(config, (Gpt2Config, BiLstmConfig)):
        yield "weight", (config.vocab_size, width)
        return
    if isinstance(config, ModernBertConfig):
        yield "tok_embeddings.weight", (config.vocab_size, width)
        yield from _norm("norm", width, bias=config.norm_bias)
        return
    yield "word_embeddings.weight", (config.vocab_size, width)
    if not isinstance(config, DebertaV2Config) or config.position_biased_input:
        yield "position_embeddings.weight", (config.max_position_embeddings, width)
    if not isinstance(config, (DistilBertConfig, MPNetConfig)) and config.type_vocab_size:
        yield "token_type_embeddings.weight", (config.type_vocab_size, width)
    yield from _norm("LayerNorm", width)


def _embedding_width(config: CheckedConfig) -> int:
    own = (ElectraConfig, AlbertConfig, BiLstmConfig)
    return config.embedding_size if isinstance(config, own) else config.hidden_size


def _beside_the_layers(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    """What stands between the embeddings and the layers, or is used by all of them."""
    match config:
        case ElectraConfig() if config.embedding_size != config.hidden_size:
            yield from _linear("embeddings_project", config.hidden_size, config.embedding_size)
        case AlbertConfig():
            yield from _linear(
                "encoder.embedding_hidden_mapping_in", config.hidden_size, config.embedding_size
            )
        case ModernBertConfig():
            yield from _norm("final_norm", config.hidden_size, bias=config.norm_bias)
        case Gpt2Config():
            yield "wpe.weight", (config.n_positions, config.hidden_size)
            yield from _norm("ln_f", config.hidden_size)
        case MPNetConfig():
            buckets = config.relative_attention_num_buckets
            yield "encoder.relative_attention_bias.weight", (buckets, config.num_attention_heads)
        case DebertaV2Config():
            if config.relative_attention:
                yield "encoder.rel_embeddings.weight", (config.positions, config.hidden_size)
            if config.norm_rel_ebd == "layer_norm":
                yield from _norm("encoder.LayerNorm", config.hidden_size)


def _layer(config: CheckedConfig, body: Body, index: int) -> Iterator[tuple[str, Shape]]:
    if isinstance(config, ModernBertConfig):
        yield from _modernbert_layer(config, index)
        return
    if isinstance(config, BiLstmConfig):
        yield from _lstm_layer(config, index)
        return
    width, inner = config.hidden_size, config.intermediate_size
    into, out_of = body.feed_forward
    linear = _transposed_linear if body.transposed else _linear
    *into_attention, out_of_attention = body.attention
    for name in into_attention:
        yield from linear(name, 3 * width // len(into_attention), width)
    yield from linear(out_of_attention, width, width)
    yield from linear(into, inner, width)
    yield from linear(out_of, width, inner)
    if isinstance(config, DebertaV2Config):
        for name in config.own_position_maps:
            yield from _linear(f"attention.self.{name}", width, width)
    for name in body.norms:
        yield from _norm(name, width)


def _modernbert_layer(config: ModernBertConfig, index: int) -> Iterator[tuple[str, Shape]]:
    width, inner, bias = config.hidden_size, config.intermediate_size, config.attention_bias
    if index > 0:
        yield from _norm("attn_norm", width, bias=config.norm_bias)
    yield from _linear("attn.Wqkv", 3 * width, width, bias=bias)
    yield from _linear("attn.Wo", width, width, bias=bias)
    yield from _norm("mlp_norm", width, bias=config.norm_bias)
    yield from _linear("mlp.Wi", 2 * inner, width, bias=config.mlp_bias)  # neurons and their gates
    yield from _linear("mlp.Wo", width, inner, bias=config.mlp_bias)


def _lstm_layer(config: BiLstmConfig, index: int) -> Iterator[tuple[str, Shape]]:
    gates, inputs = 4 * config.hidden_size, 2 * config.hidden_size if index else config.embedding_size
    for direction in ("forwards", "backwards"):
        yield f"{direction}.weight_ih_l0", (gates, inputs)
        yield f"{direction}.weight_hh_l0", (gates, config.hidden_size)
        yield f"{direction}.bias_ih_l0", (gates,)
        yield f"{direction}.bias_hh_l0", (gates,)


def _head(config: CheckedConfig) -> Iterator[tuple[str, Shape]]:
    width, classes, body = config.hidden_size, len(config.labels), BODIES[config.model_type]
    if task_of(config) == "sentence-similarity":
        return
    if isinstance(config, BiLstmConfig):
        yield from _lstm_head(config)
    elif isinstance(config, ModernBertConfig):
        yield from _modernbert_head(config, classes)
    elif task_of(config) == "token-classification":
        yield from _linear("classifier", classes, width)
    elif task_of(config) == "question-answering":
        yield from _linear("qa_outputs", 2, width)
    elif (head := body.pieces) is not None and task_of(config) == "fill-mask":
        yield from _linear(head.dense, _embedding_width(config), width)
        yield from _norm(head.norm, _embedding_width(config))
        yield head.bias, (config.vocab_size,)
    elif task_of(config) == "text-generation":
        return
    elif isinstance(config, Gpt2Config):
        yield "score.weight", (classes, width)
    elif body.classifier == ("classifier",):
        yield from _linear("classifier.dense", width, width)
        yield from _linear("classifier.out_proj", classes, width)
    else:
        hidden = {
            "bert": "bert.pooler.dense",
            "distilbert": "pre_classifier",
            "albert": "albert.pooler",
            "deberta-v2": "pooler.dense",
        }
        yield from _linear(hidden[config.model_type], width, width)
        yield from _linear("classifier", classes, width)


def _modernbert_head(config: ModernBertConfig, classes: int) -> Iterator[tuple[str, Shape]]:
    width = config.hidden_size
    yield from _linear("head.dense", width, width, bias=config.classifier_bias)
    yield from _norm("head.norm", width, bias=config.norm_bias)
    if task_of(config) != "fill-mask":
        yield from _linear("classifier", 2 if task_of(config) == "question-answering" else classes, width)
    elif config.decoder_bias:
        yield "decoder.bias", (config.vocab_size,)


def _lstm_head(config: BiLstmConfig) -> Iterator[tuple[str, Shape]]:
    width = 2 * config.hidden_size
    if task_of(config) == "text-classification":
        yield from _linear("dense", width, width if config.sep_token_id is None else 4 * width)
    yield from _linear("classifier", len(config.labels), width)


def _linear(name: str, outputs: int, inputs: int, *, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _transposed_linear(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (inputs, outputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int, *, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    if bias:
        yield f"{name}.bias", (width,)
