"""Weights that are missing, too many, misshapen, cut or not numbers are told by file and tensor."""

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compression.checkpoints.facts import Architecture
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.checkpoints.changes import (
    Change,
    all_of,
    config,
    cut,
    edit_json,
    problems_of,
    remove,
    weights,
    with_value,
    write,
)

QUERY = "bert.encoder.layer.0.attention.self.query.weight"

WEIGHTS: dict[str, tuple[str, Change, list[tuple[str, str]]]] = {
    # weights, by name, shape and value
    "no weights": ("bert", remove("model.safetensors"), [("missing_weights_file", "model.safetensors")]),
    "missing weight": ("bert", weights(lambda t: t.pop(QUERY)), [("missing_weights", f"model.safetensors#{QUERY}")]),
    "extra weight": (
        "bert", weights(lambda t: t.update(extra=np.zeros(2, np.float32))),
        [("unexpected_weights", "model.safetensors#extra")]),
    "extra weight with a hostile name": (
        "bert", weights(lambda t: t.update({"\n\x1b[2J": np.zeros(2, np.float32)})),
        [("unexpected_weights", "model.safetensors#'\\n\\x1b[2J'")]),
    "fewer layers than weights": (
        "distilbert", all_of(config(n_layers=1), weights(lambda t: [t.pop(n) for n in list(t) if ".1.ffn" in n])),
        [("unexpected_weights", f"model.safetensors#distilbert.transformer.layer.1.{name}.{kind}")
         for name in ("attention.k_lin", "attention.out_lin", "attention.q_lin", "attention.v_lin",
                      "output_layer_norm", "sa_layer_norm") for kind in ("bias", "weight")][:10]),
    "no head": (
        "roberta", weights(lambda t: [t.pop(name) for name in list(t) if name.startswith("classifier")]),
        [("no_task_head", "model.safetensors")]),
    "other shape": (
        "bert", weights(lambda t: t.update({QUERY: t[QUERY][:8]})), [("wrong_shape", f"model.safetensors#{QUERY}")]),
    "more labels than rows": (
        "bert", config(id2label={"0": "a", "1": "b", "2": "c"}, label2id=None),
        [("wrong_shape", "model.safetensors#classifier.weight"), ("wrong_shape", "model.safetensors#classifier.bias")]),
    "embedding rows": (
        "roberta", config(vocab_size=300),
        [("embedding_rows_differ", "model.safetensors#roberta.embeddings.word_embeddings.weight")]),
    "NaN": ("bert", with_value(QUERY, np.nan), [("non_finite_weights", f"model.safetensors#{QUERY}")]),
    "infinity": ("bert", with_value(QUERY, -np.inf, 0, 0), [("non_finite_weights", f"model.safetensors#{QUERY}")]),
    "double precision": (
        "bert", weights(lambda t: t.update({QUERY: t[QUERY].astype(np.float64)})),
        [("unsupported_dtype", f"model.safetensors#{QUERY}")]),
    "int8": (
        "bert", weights(lambda t: t.update({QUERY: t[QUERY].astype(np.int8)})),
        [("unsupported_dtype", f"model.safetensors#{QUERY}")]),
    # the weight file itself
    "empty file": ("bert", write("model.safetensors", b""), [("truncated_weights", "model.safetensors")]),
    "cut header": ("bert", cut("model.safetensors", 100), [("truncated_weights", "model.safetensors")]),
    "cut data": ("bert", cut("model.safetensors", 30_000), [("truncated_weights", "model.safetensors")]),
    "a pickle by name": (
        "bert", write("model.safetensors", b"\x80\x02}q\x00." * 100), [("truncated_weights", "model.safetensors")]),
    "huge header": (
        "bert", write("model.safetensors", struct.pack("<Q", 10_000_001) + bytes(10_000_001)),
        [("damaged_weights", "model.safetensors")]),
    # shards
    "file and shards": (
        "sharded", write("model.safetensors", b"x"), [("several_weights", "model.safetensors.index.json")]),
    "shard missing": (
        "sharded", remove("model-00002-of-00004.safetensors"),
        [("missing_weights_file", "model-00002-of-00004.safetensors")]),
    "shard cut": (
        "sharded", cut("model-00002-of-00004.safetensors", 50),
        [("truncated_weights", "model-00002-of-00004.safetensors")]),
    "shard outside": (
        "sharded", edit_json("model.safetensors.index.json", lambda c: c["weight_map"].update(a="../x.safetensors")),
        [("invalid_shard_index", "model.safetensors.index.json")]),
    "shard by absolute path": (
        "sharded", edit_json("model.safetensors.index.json", lambda c: c["weight_map"].update(a="/etc/passwd")),
        [("invalid_shard_index", "model.safetensors.index.json")]),
    "shard map is a list": (
        "sharded", write("model.safetensors.index.json", '{"weight_map": []}'),
        [("invalid_shard_index", "model.safetensors.index.json")]),
    "shard map lies": (
        "sharded", edit_json("model.safetensors.index.json", lambda c: c["weight_map"].pop(QUERY)),
        [("invalid_shard_index", "model.safetensors.index.json")]),
    "tensor in two shards": (
        "sharded",
        lambda folder: save_file(
            load_file(folder / "model-00001-of-00004.safetensors")
            | {"classifier.bias": np.zeros(2, np.float32)}, folder / "model-00001-of-00004.safetensors"),
        [("duplicate_weights", "model-00004-of-00004.safetensors#classifier.bias")]),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_refuses_wrong_weights(case: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    checkpoint, change, expected = WEIGHTS[case]
    folder = shutil.copytree(tiny[checkpoint], tmp_path / "model")
    change(folder)
    assert problems_of(folder) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_finds_one_wrong_number_anywhere(
    dtype: Any, value: float, architecture: Architecture, tmp_path: Path
) -> None:
    """In tensors larger than one piece of the search, and in the last number of all."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = make_tiny_checkpoint(tmp_path / "model", architecture, hidden=384, layers=1, dtype=dtype)
    tensors = load_file(folder / "model.safetensors")
    name = max(tensors, key=lambda name: tensors[name].numel())
    wrong = tensors[name].clone()
    wrong[-1, -1] = value
    assert wrong.numel() * wrong.element_size() > (1 << 18)
    save_file(tensors | {name: wrong}, folder / "model.safetensors")
    assert problems_of(folder) == [("non_finite_weights", f"model.safetensors#{name}")]
    assert torch.isfinite(tensors[name]).all()
