"""Every way for a config to be wrong is told with its code and its key; only known keys are passed on."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest

from compression.checkpoints.config import parse_config
from compression.checkpoints.config_keys import CONFIGS
from compression.checkpoints.facts import Architecture
from compression.checkpoints.inspection import sanitized_config
from compression.errors import InputError
from tests.compression.checkpoints.changes import Change, config, edit_json, problems_of, write

CONFIG: dict[str, tuple[Change, str, str]] = {
    "auto_map": (config(auto_map={"AutoModel": "evil.Model"}), "remote_code", "auto_map"),
    "quantization": (config(quantization_config={"bits": 4}), "quantized_checkpoint", "quantization_config"),
    "pruned heads": (config(pruned_heads={"0": [1]}), "unsupported_config", "pruned_heads"),
    "decoder": (config(is_decoder=True), "unsupported_config", "is_decoder"),
    "relative positions": (
        config(position_embedding_type="relative_key"), "unsupported_config", "position_embedding_type"),
    "other model": (config(model_type="llama"), "unsupported_architecture", "model_type"),
    "no model type": (config(model_type=None), "unsupported_architecture", "model_type"),
    "model type is a list": (config(model_type=["bert"]), "unsupported_architecture", "model_type"),
    "other task": (config(architectures=["BertForMultipleChoice"]), "unsupported_architecture", "architectures"),
    "other class": (
        config(architectures=["RobertaForSequenceClassification"]), "unsupported_architecture", "architectures"),
    "no head": (config(architectures=["BertModel"]), "no_task_head", "architectures"),
    "pretrained only": (config(architectures=["BertForPreTraining"]), "no_task_head", "architectures"),
    "a billion layers": (config(num_hidden_layers=10**9), "invalid_config_value", "num_hidden_layers"),
    "no layers": (config(num_hidden_layers=0), "invalid_config_value", "num_hidden_layers"),
    "negative layers": (config(num_hidden_layers=-1), "invalid_config_value", "num_hidden_layers"),
    "layers as text": (config(num_hidden_layers="2"), "invalid_config_value", "num_hidden_layers"),
    "layers as a fraction": (config(num_hidden_layers=2.5), "invalid_config_value", "num_hidden_layers"),
    "layers as a truth": (config(num_hidden_layers=True), "invalid_config_value", "num_hidden_layers"),
    "no number of layers": (config(num_hidden_layers=None), "invalid_config_value", "num_hidden_layers"),
    "endless vocabulary": (config(vocab_size=2**62), "invalid_config_value", "vocab_size"),
    "endless width": (config(hidden_size=10**9), "invalid_config_value", "hidden_size"),
    "endless positions": (config(max_position_embeddings=10**9), "invalid_config_value", "max_position_embeddings"),
    "endless labels": (config(num_labels=10**9), "invalid_config_value", "num_labels"),
    "many labels": (config(id2label={str(i): str(i) for i in range(2000)}), "invalid_config_value", "id2label"),
    "no labels": (config(id2label={}), "invalid_config_value", "id2label"),
    "labels as numbers": (config(id2label={"0": 0, "1": 1}), "invalid_config_value", "id2label"),
    "unknown activation": (config(hidden_act="os.system"), "invalid_config_value", "hidden_act"),
    "infinite deviation": (write("config.json", '{"initializer_range": 1e999, "model_type": "bert"}'),
                           "invalid_config_value", "initializer_range"),
    "dropout of everything": (config(hidden_dropout_prob=1), "invalid_config_value", "hidden_dropout_prob"),
    "int8": (config(torch_dtype="int8"), "invalid_config_value", "torch_dtype"),
    "odd heads": (config(num_attention_heads=3), "inconsistent_config", "hidden_size"),
    "padding outside": (config(pad_token_id=180), "inconsistent_config", "pad_token_id"),
    "gap in the class ids": (config(id2label={"0": "a", "2": "b"}), "inconsistent_labels", "id2label"),
    "class ids that are none": (config(id2label={"00": "a", "1": "b"}), "inconsistent_labels", "id2label"),
    "label twice": (config(id2label={"0": "a", "1": "a"}, label2id=None), "inconsistent_labels", "id2label"),
    "control characters": (config(id2label={"0": "a\x00", "1": "b"}, label2id=None), "inconsistent_labels", "id2label"),
    "lone surrogate": (config(id2label={"0": "a\ud800", "1": "b"}), "invalid_config_value", "id2label"),
    "labels and their number": (config(num_labels=3), "inconsistent_labels", "num_labels"),
    "label2id": (config(label2id={"negative": 1, "positive": 0}), "inconsistent_labels", "label2id"),
    "two labels, yet regression": (config(problem_type="regression"), "inconsistent_labels", "problem_type"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIG)
def test_refuses_a_wrong_config(case: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    change, code, key = CONFIG[case]
    folder = shutil.copytree(tiny["bert"], tmp_path / "model")
    change(folder)
    assert (code, f"config.json#/{key}") in problems_of(folder)


NO_PADDING = edit_json("tokenizer_config.json", lambda content: content.pop("pad_token"))
OF_ONE_ARCHITECTURE: list[tuple[Architecture, Change, str, str]] = [
    ("gpt2", config(pad_token_id=None), "missing_pad_token", "config.json#/pad_token_id"),
    ("gpt2", config(pad_token_id=3), "pad_token_differs", "tokenizer_config.json#/pad_token"),
    ("gpt2", NO_PADDING, "pad_token_differs", "tokenizer_config.json#/pad_token"),
    (
        "gpt2",
        config(scale_attn_by_inverse_layer_idx=True),
        "unsupported_config",
        "config.json#/scale_attn_by_inverse_layer_idx",
    ),
    ("deberta-v2", config(embedding_size=8), "unsupported_config", "config.json#/embedding_size"),
    ("deberta-v2", config(pooler_hidden_size=8), "unsupported_config", "config.json#/pooler_hidden_size"),
    ("deberta-v2", config(attention_head_size=4), "unsupported_config", "config.json#/attention_head_size"),
    ("deberta-v2", config(conv_kernel_size=3), "unsupported_config", "config.json#/conv_kernel_size"),
    ("deberta-v2", config(pos_att_type="p2p"), "invalid_config_value", "config.json#/pos_att_type"),
    ("deberta-v2", config(legacy=False), "invalid_config_value", "config.json#/legacy"),
    ("modernbert", config(num_attention_heads=16), "inconsistent_config", "config.json#/num_attention_heads"),
    ("modernbert", config(layer_types=["full_attention"]), "inconsistent_config", "config.json#/layer_types"),
    (
        "modernbert",
        config(rope_parameters={"full_attention": {"rope_type": "linear"}}),
        "invalid_config_value",
        "config.json#/rope_parameters",
    ),
    ("albert", config(num_hidden_groups=3), "inconsistent_config", "config.json#/num_hidden_groups"),
    ("albert", config(inner_group_num=2), "invalid_config_value", "config.json#/inner_group_num"),
    ("mpnet", config(pad_token_id=0), "invalid_config_value", "config.json#/pad_token_id"),
]


@pytest.mark.parametrize(("architecture", "change", "code", "place"), OF_ONE_ARCHITECTURE)
def test_refuses_what_an_architecture_cannot_be(
    architecture: Architecture, change: Change, code: str, place: str, tiny: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny[architecture], tmp_path / "model")
    change(folder)
    assert problems_of(folder) == [(code, place)]


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_every_number_of_every_architecture_has_bounds(
    architecture: Architecture, tiny: dict[str, Path]
) -> None:
    raw = json.loads((tiny[architecture] / "config.json").read_text())
    known = CONFIGS[architecture].model_fields
    numbers = [key for key, value in raw.items() if key in known and type(value) in (int, float)]
    assert len(numbers) > 8
    for key in numbers:
        for value in (10**9, -(10**9)):
            with pytest.raises(InputError) as caught:
                parse_config(raw | {key: value})
            assert f"config.json#/{key}" in [problem.place for problem in caught.value.problems]


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_sanitized_config_builds_the_same_model(
    architecture: Architecture, tiny: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoConfig

    raw = json.loads((tiny[architecture] / "config.json").read_text())
    hostile = raw | {"attn_implementation": "org/kernel", "_name_or_path": "/etc", "torchscript": True}
    clean = sanitized_config(hostile)
    assert not clean.keys() & {"attn_implementation", "_name_or_path", "torchscript", "transformers_version"}
    (tmp_path / "config.json").write_text(json.dumps(clean))
    rebuilt = AutoConfig.from_pretrained(tmp_path).to_dict()
    original = AutoConfig.from_pretrained(tiny[architecture]).to_dict()
    ignored = {"_name_or_path", "transformers_version"}
    assert {k: v for k, v in rebuilt.items() if k not in ignored} == {
        k: v for k, v in original.items() if k not in ignored
    }
