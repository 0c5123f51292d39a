"""Sharing: what is exact, what is refused, and that a plain ALBERT comes out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model
from compression.errors import InputError
from compression.methods.share.albert import albert_of
from compression.methods.share.embeddings import shortened, whole
from compression.methods.share.params import ShareParams, Start
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import make_spec, run_to_end

IDS = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))


def model_with_norms(folder: Path, architecture: Architecture, task: TaskType) -> PreTrainedModel:
    """Its norms do something."""
    checkpoint = make_tiny_checkpoint(folder / "model", architecture, task=task, layers=3)
    model = load_model(checkpoint, inspect_checkpoint(checkpoint), torch.device("cpu"))
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=draw)
    return model


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("task", ShareParams.TASKS)
def test_an_albert_that_shares_nothing_gives_the_same_logits(
    tmp_path: Path, architecture: Architecture, task: TaskType
) -> None:
    model = model_with_norms(tmp_path, architecture, task)
    rows = of_rows(classification(), np.zeros(3, dtype=np.int64), [6, 9, 4])
    for vectors, tolerance in ((whole(model), 0.0), (shortened(model, rows, 16), 1e-5)):
        with torch.inference_mode():
            expected = model(input_ids=IDS).to_tuple()
            found = albert_of(model, task, [1, 1, 1], "mean", vectors)(input_ids=IDS).to_tuple()
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_layers_of_a_group_have_the_weights_it_starts_from(tmp_path: Path) -> None:
    model = model_with_norms(tmp_path, "bert", "text-classification")
    biases = torch.stack([model.get_parameter(f"bert.encoder.layer.{i}.output.dense.bias") for i in range(3)])
    starts: dict[Start, torch.Tensor] = {"first": biases[1], "last": biases[2], "mean": biases[1:].mean(0)}
    for start, expected in starts.items():
        albert = albert_of(model, "text-classification", [1, 2], start, whole(model))
        found = albert.get_parameter("albert.encoder.albert_layer_groups.1.albert_layers.0.ffn_output.bias")
        torch.testing.assert_close(found.data, expected.data)


def test_groups_are_those_that_an_albert_makes() -> None:
    assert ShareParams().group_sizes(5) == [2, 2, 1]
    assert ShareParams(groups=4).group_sizes(6) == [2, 1, 2, 1]
    assert ShareParams(groups=6, embedding_size=8).group_sizes(6) == [1] * 6


def test_it_can_go_on_as_an_albert_with_the_tokenizer_it_had(tmp_path: Path) -> None:
    """Also where only a vocabulary file tells what the tokenizer is."""
    steps: list[dict[str, Any]] = [
        {"method": "share", "recovery": None},
        {"method": "trim_vocabulary", "keep_share": 0.9},
        {"method": "low_rank", "rows": 16, "recovery": None},
    ]
    for kept in (3, 1):
        folder = tmp_path / str(kept)
        folder.mkdir()
        spec = make_spec(folder, steps[:kept])
        pieces = AutoTokenizer.from_pretrained(spec.model)("a good movie")["input_ids"]
        if kept == 1:
            vocabulary = AutoTokenizer.from_pretrained(spec.model).get_vocab()
            (spec.model / "vocab.txt").write_text(
                "\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n"
            )
            (spec.model / "tokenizer.json").unlink()
            (spec.model / "tokenizer_config.json").unlink()
        run_to_end(spec, folder / "out")
        facts = inspect_checkpoint(folder / "out" / "model")
        assert (facts.architecture, facts.layers, facts.low_rank) == ("albert", 4, kept == 3)
    assert AutoTokenizer.from_pretrained(folder / "out" / "model")("a good movie")["input_ids"] == pieces


REFUSED: list[tuple[Architecture, list[dict[str, Any]], str, str]] = [
    ("distilbert", [{}], "method_does_not_fit", "its head has a ReLU"),
    ("mpnet", [{}], "method_does_not_fit", "relative positions"),
    ("bert", [{"recovery": None}, {}], "method_does_not_fit", "its layers share their weights"),
    ("bert", [{"groups": 4}], "nothing_to_share", "4 layers"),
    ("bert", [{"embedding_size": 16}], "nothing_to_factorise", "must be shorter"),
]


@pytest.mark.parametrize(("architecture", "steps", "code", "reason"), REFUSED)
def test_what_no_albert_computes_is_refused_with_the_reason(
    tmp_path: Path, architecture: Architecture, steps: list[dict[str, Any]], code: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        make_spec(tmp_path, [{"method": "share", **step} for step in steps], architecture=architecture)
    assert refused.value.code == code
