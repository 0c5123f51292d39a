"""Checkpoints as transformers saves them pass; files that are wrong are told with their code and their place."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from compression.checkpoints.bodies import BODIES
from compression.checkpoints.config import parse_config
from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import checkpoint_files, inspect_checkpoint
from compression.checkpoints.layout import HARMLESS as HARMLESS_TENSORS
from compression.checkpoints.layout import expected_tensors
from compression.errors import InputError
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.checkpoints.changes import (
    Change,
    all_of,
    config,
    edit_json,
    problems_of,
    remove,
    weights,
    with_value,
    without_tokenizer,
    write,
)

ARCHITECTURES: list[Architecture] = ["bert", "roberta", "distilbert"]
SHARED = Path(os.environ.get("PLANKWRIGHT_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("max_shard_size", ["1GB", "8KB"])
def test_what_transformers_saves_passes(
    architecture: Architecture, dtype: Any, max_shard_size: str, tmp_path: Path
) -> None:
    labels = ["bad", "fine", "good"]
    folder = make_tiny_checkpoint(
        tmp_path / "model", architecture, layers=3, labels=labels, dtype=dtype, max_shard_size=max_shard_size
    )
    facts = inspect_checkpoint(folder)
    assert (facts.architecture, facts.layers, facts.hidden_size, facts.attention_heads) == (
        architecture,
        3,
        16,
        2,
    )
    assert (facts.labels, facts.problem_type, facts.max_length) == (labels, "single_label", 64)
    assert facts.dtype == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    assert facts.bytes == sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@pytest.mark.parametrize("task", get_args(TaskType))
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_expected_tensors_are_those_of_transformers(
    architecture: Architecture, task: TaskType, tmp_path: Path
) -> None:
    if task not in BODIES[architecture].heads:
        return
    folder = make_tiny_checkpoint(tmp_path / "model", architecture, task=task)
    stored = load_file(folder / "model.safetensors")
    raw = json.loads((folder / "config.json").read_text())
    expected = expected_tensors(parse_config(raw))
    used = {
        name: value
        for name, value in stored.items()
        if name in expected or not HARMLESS_TENSORS.fullmatch(name)
    }
    assert expected == {name: value.shape for name, value in used.items()}
    facts = inspect_checkpoint(folder)
    assert (facts.architecture, facts.task, facts.max_length) == (architecture, task, 64)
    assert facts.parameters == sum(value.size for value in used.values())


def test_a_decoder_may_have_no_bias(tmp_path: Path) -> None:
    with_bias, without = (
        inspect_checkpoint(
            make_tiny_checkpoint(tmp_path / str(bias), "modernbert", task="fill-mask", decoder_bias=bias)
        )
        for bias in (True, False)
    )
    assert with_bias.parameters - without.parameters == with_bias.vocabulary_size


def test_regression(tmp_path: Path) -> None:
    facts = inspect_checkpoint(make_tiny_checkpoint(tmp_path / "model", regression=True))
    assert (facts.problem_type, facts.labels) == ("regression", ["LABEL_0"])


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="the folder with real models is not there")
def test_a_real_model_passes() -> None:
    facts = inspect_checkpoint(SHARED / "models" / "sst2-minilm")
    assert (facts.architecture, facts.layers, facts.hidden_size, facts.vocabulary_size) == (
        "bert",
        6,
        384,
        30522,
    )
    assert (facts.parameters, facts.labels, facts.dtype) == (22_713_986, ["0", "1"], "F16")


HARMLESS: dict[str, tuple[str, Change]] = {
    "no architectures": ("bert", config(architectures=None)),
    "labels by number only": ("bert", config(id2label=None, label2id=None, num_labels=2)),
    "neither labels nor their number": ("bert", config(id2label=None, label2id=None)),
    "generic label2id": ("bert", config(label2id={"LABEL_0": 0, "LABEL_1": 1})),
    "unknown keys": ("bert", config(finetuning_task="x", attn_implementation="org/kernel", transformers_version=[])),
    "empty auto_map": ("bert", config(auto_map={})),
    "position ids": (
        "bert", weights(lambda t: t.update({"bert.embeddings.position_ids": np.arange(64, dtype=np.int64)[None]}))),
    "unused pooler": (
        "roberta", weights(lambda t: t.update({"roberta.pooler.dense.bias": np.zeros(16, np.float32)}))),
    "leftovers of the Trainer": (
        "bert", all_of(write("training_args.bin", "x"), write("optimizer.pt", "x"), write("rng_state_0.pth", "x"))),
    "notes and notebooks": ("bert", all_of(write("README.md", "x"), write("runs/events", "x"), write("a.py", "x"))),
    "largest numbers": ("bert", with_value("bert.pooler.dense.weight", float(np.finfo(np.float32).max), 0, 0)),
    "spare rows in the embeddings": (
        "bert", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].pop("never"))),
    "WordPiece by vocab.txt": ("distilbert", all_of(without_tokenizer, write("vocab.txt", "[PAD]\n\u2028\n" * 90))),
    "BPE by vocab.json": (
        "roberta", all_of(without_tokenizer, write("vocab.json", '{"a": 264}'), write("merges.txt", "#v\na b\n"))),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_differences_pass(case: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    architecture, change = HARMLESS[case]
    folder = shutil.copytree(tiny[architecture], tmp_path / "model")
    change(folder)
    assert inspect_checkpoint(folder).architecture == architecture


FILES: dict[str, tuple[str, Change, list[tuple[str, str]]]] = {
    # config.json as a file
    "no config": ("bert", remove("config.json"), [("missing_config", "config.json")]),
    "config further down": (
        "bert", all_of(write("sub/config.json", "{}"), remove("config.json")), [("missing_config", "config.json")]),
    "two configs": ("bert", write("sub/config.json", "{}"), [("several_configs", "config.json")]),
    "config is no JSON": ("bert", write("config.json", "hidden_size: 16"), [("invalid_json", "config.json")]),
    "config is a list": ("bert", write("config.json", "[]"), [("invalid_json", "config.json")]),
    "config is not UTF-8": ("bert", write("config.json", b'{"a": "\xff"}'), [("invalid_json", "config.json")]),
    "key twice": ("bert", write("config.json", '{"a": 1, "a": 2}'), [("invalid_json", "config.json")]),
    "NaN in JSON": ("bert", write("config.json", '{"a": NaN}'), [("invalid_json", "config.json")]),
    "deep JSON": ("bert", write("config.json", '{"a":' * 100_000), [("invalid_json", "config.json")]),
    "endless number": ("bert", write("config.json", '{"a":' + "9" * 9999 + "}"), [("invalid_json", "config.json")]),
    "huge config": ("bert", write("config.json", " " * 2_000_000), [("file_too_large", "config.json")]),
    # pickles
    "pickle beside": ("bert", write("pytorch_model.bin", "x"), [("pickle_weights", "pytorch_model.bin")]),
    "pickle instead": (
        "bert", all_of(remove("model.safetensors"), write("model.pt", "x")),
        [("pickle_weights", "model.pt"), ("missing_weights_file", "model.safetensors")]),
    "pickle further down": ("bert", write("sub/a.PKL", "x"), [("pickle_weights", "sub/a.PKL")]),
    # tokenizer
    "no tokenizer": ("bert", without_tokenizer, [("missing_tokenizer", "tokenizer.json")]),
    "half a tokenizer": (
        "roberta", all_of(without_tokenizer, write("vocab.json", "{}")), [("missing_tokenizer", "tokenizer.json")]),
    "tokenizer of another kind": (
        "roberta", all_of(without_tokenizer, write("vocab.txt", "a")), [("missing_tokenizer", "tokenizer.json")]),
    "tokenizer is no JSON": ("bert", write("tokenizer.json", "x"), [("invalid_json", "tokenizer.json")]),
    "tokenizer without words": ("bert", write("tokenizer.json", "{}"), [("invalid_tokenizer", "tokenizer.json")]),
    "token without a text": (
        "bert", edit_json("tokenizer.json", lambda c: c["added_tokens"][0].pop("content")),
        [("invalid_tokenizer", "tokenizer.json")]),
    "token that is a text": (
        "bert", edit_json("tokenizer.json", lambda c: c["added_tokens"].append("[NEW]")),
        [("invalid_tokenizer", "tokenizer.json")]),
    "token without an id": (
        "bert", edit_json("tokenizer.json", lambda c: c["added_tokens"][0].pop("id")),
        [("invalid_tokenizer", "tokenizer.json")]),
    "piece of Unigram without a text": (
        "xlm-roberta", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].append([])),
        [("invalid_tokenizer", "tokenizer.json")]),
    "piece of Unigram that is a number": (
        "xlm-roberta", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].append([["a"], 0.0])),
        [("invalid_tokenizer", "tokenizer.json")]),
    "token id is text": (
        "bert", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].update(new="7")),
        [("invalid_tokenizer", "tokenizer.json")]),
    "token id is negative": (
        "bert", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].update(new=-1)),
        [("invalid_tokenizer", "tokenizer.json")]),
    "code in the tokenizer": (
        "bert", write("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["evil.T", null]}}'),
        [("remote_code", "tokenizer_config.json#/auto_map")]),
    "larger vocabulary": (
        "bert", edit_json("tokenizer.json", lambda c: c["model"]["vocab"].update(new=180)),
        [("tokenizer_exceeds_embeddings", "tokenizer.json")]),
    "added token outside": (
        "roberta", edit_json("tokenizer.json", lambda c: c["added_tokens"].append({"id": 265, "content": "x"})),
        [("tokenizer_exceeds_embeddings", "tokenizer.json")]),
    "larger vocab.txt": (
        "distilbert", all_of(without_tokenizer, write("vocab.txt", "a\n" * 181)),
        [("tokenizer_exceeds_embeddings", "tokenizer.json")]),
    "vocab.txt is not UTF-8": (
        "distilbert", all_of(without_tokenizer, write("vocab.txt", b"\xff")), [("invalid_tokenizer", "vocab.txt")]),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_refuses_wrong_files(case: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    checkpoint, change, expected = FILES[case]
    folder = shutil.copytree(tiny[checkpoint], tmp_path / "model")
    change(folder)
    assert problems_of(folder) == expected


def test_an_empty_folder(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [
        ("missing_config", "config.json"),
        ("missing_weights_file", "model.safetensors"),
    ]


def test_tells_everything_at_once(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny["bert"], tmp_path / "model")
    all_of(
        config(vocab_size=170),
        write("pytorch_model.bin", "x"),
        weights(lambda t: t.pop("classifier.bias")),
        with_value("bert.pooler.dense.bias", np.nan),
    )(folder)
    assert problems_of(folder) == [
        ("pickle_weights", "pytorch_model.bin"),
        ("tokenizer_exceeds_embeddings", "tokenizer.json"),
        ("missing_weights", "model.safetensors#classifier.bias"),
        ("embedding_rows_differ", "model.safetensors#bert.embeddings.word_embeddings.weight"),
        ("non_finite_weights", "model.safetensors#bert.pooler.dense.bias"),
    ]
    all_of(config(num_hidden_layers=-1, hidden_size="16", auto_map={"a": "b"}))(folder)
    assert problems_of(folder)[1:4] == [
        ("remote_code", "config.json#/auto_map"),
        ("invalid_config_value", "config.json#/hidden_size"),
        ("invalid_config_value", "config.json#/num_hidden_layers"),
    ]


def test_only_known_files_belong_to_a_checkpoint(tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny["sharded"], tmp_path / "model")
    all_of(write("evil.py", "x"), write("README.md", "x"), write("model-1.safetensors", "x"))(folder)
    shards = [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    index, tokenizer = "model.safetensors.index.json", ["tokenizer.json", "tokenizer_config.json"]
    assert checkpoint_files(folder) == ["config.json", *shards, index, *tokenizer]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), file=st.sampled_from(["config.json", "model.safetensors", "tokenizer.json"]))
def test_damage_anywhere_is_told_or_harmless(
    data: st.DataObject, file: str, tiny: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = shutil.copytree(tiny["bert"], tmp_path_factory.mktemp("damage"), dirs_exist_ok=True)
    content = bytearray((folder / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(content), 5000) - 1))] = data.draw(st.integers(0, 255))
    (folder / file).write_bytes(content)
    with suppress(InputError):
        inspect_checkpoint(folder)
