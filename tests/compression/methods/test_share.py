"""Sharing: what is exact, what is refused, and that a plain ALBERT comes out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.export.verify import verify
from compression.methods.share.albert import albert_of, put_groups, shared_layers
from compression.methods.share.embeddings import shortened, whole
from compression.methods.share.params import ShareParams, Start
from compression.methods.theseus.modules import ReplaceableModule, put_modules
from compression.methods.theseus.schedules import LinearSchedule
from compression.run import run
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

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
    cut = [] if task == "fill-mask" else [(shortened(model, rows, 16), 1e-5)]  # its head reads the table
    for vectors, tolerance in ((whole(model), 0.0), *cut):
        with torch.inference_mode():
            expected = model(input_ids=IDS).to_tuple()
            found = albert_of(model, task, vectors)(input_ids=IDS).to_tuple()
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_layers_of_a_group_have_the_weights_it_starts_from(tmp_path: Path) -> None:
    model = model_with_norms(tmp_path, "bert", "text-classification")
    biases = torch.stack([model.get_parameter(f"bert.encoder.layer.{i}.output.dense.bias") for i in range(3)])
    starts: dict[Start, torch.Tensor] = {"first": biases[1], "last": biases[2], "mean": biases[1:].mean(0)}
    for start, expected in starts.items():
        albert = albert_of(model, "text-classification", whole(model))
        put_groups(albert, shared_layers(albert, [1, 2], start))
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


def test_layers_are_replaced_by_those_they_share_and_an_interruption_changes_nothing(tmp_path: Path) -> None:
    schedule = {"type": "linear", "base_rate": 0.3, "full_at": 0.7}
    step = {"method": "share", "groups": 2, "embedding_size": 8, "replacing": schedule, "recovery": TRAINING}
    spec = make_spec(tmp_path, [step])
    report = run_to_end(spec, tmp_path / "whole")
    rates = [point.value for point in report.curves["replacing_rate"]]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.3)
    assert rates[-1] == 1
    model, untrained = (
        load_model(folder, inspect_checkpoint(folder), torch.device("cpu")).state_dict()
        for folder in (tmp_path / "whole" / "model", untrained_result(tmp_path, step))
    )
    assert [name for name in model if model[name].equal(untrained[name])] == []
    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), stop_after(10))
    run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "resumed")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "whole")


def untrained_result(folder: Path, step: dict[str, Any]) -> Path:
    step = {name: value for name, value in step.items() if name != "replacing"} | {"recovery": None}
    run_to_end(make_spec(folder / "untrained", [step]), folder / "untrained" / "out")
    return folder / "untrained" / "out" / "model"


def test_while_layers_are_not_replaced_the_model_is_the_one_before(tmp_path: Path) -> None:
    """And when they all are, it is the one that is delivered."""
    model = model_with_norms(tmp_path, "bert", "text-classification")
    albert = albert_of(model, "text-classification", whole(model))
    shared = shared_layers(albert, [2, 1], "first")
    modules = put_modules(albert, [1, 1, 1], [shared[0], shared[0], shared[1]], torch.float32)
    after = albert_of(model, "text-classification", whole(model))
    put_groups(after, shared)
    with torch.inference_mode():
        for replaced, expected in ((False, model), (True, after)):
            for module in modules:
                module.train()
                module.replaced = replaced
            for child in albert.modules():
                child.training = isinstance(child, ReplaceableModule)  # no dropout
            logits = albert(input_ids=IDS).logits
            torch.testing.assert_close(logits, expected.eval()(input_ids=IDS).logits, atol=0, rtol=0)


def test_pieces_are_guessed_by_an_albert_too(tmp_path: Path) -> None:
    step = {"method": "share", "replacing": {"type": "linear"}, "recovery": {"max_steps": 2}}
    spec = make_spec(tmp_path, [step], task="fill-mask")
    run_to_end(spec, tmp_path / "out")
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out" / "model")
    assert type(model).__name__ == "AlbertForMaskedLM"
    with pytest.raises(InputError, match="the head reads word pieces from the table"):
        make_spec(tmp_path / "short", [step | {"embedding_size": 8}], task="fill-mask")
    roberta = model_with_norms(tmp_path / "roberta", "roberta", "fill-mask")
    roberta.config.hidden_act = "relu"
    with pytest.raises(InputError, match="its head has a GELU, and its layers relu"):
        albert_of(roberta, "fill-mask", whole(roberta))


def test_what_only_the_run_can_see_is_told_of_the_step(tmp_path: Path) -> None:
    spec = make_spec(
        tmp_path,
        [{"method": "layer_drop", "keep_layers": 2, "recovery": None}, {"method": "share"}],
        task="fill-mask",
        architecture="roberta",
        config={"hidden_act": "relu"},
    )
    with pytest.raises(InputError, match=r"config\.json#/hidden_act: its head has a GELU") as refused:
        run_to_end(spec, tmp_path / "out")
    assert [p.place for p in refused.value.problems] == ["/steps/1"]


def test_replacing_needs_a_recovery() -> None:
    with pytest.raises(ValidationError, match="replacing is part of the recovery"):
        ShareParams(replacing=LinearSchedule(), recovery=None)


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
