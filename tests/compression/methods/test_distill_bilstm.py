"""Recurrent students: they learn every task that they serve, are delivered like any model, and padding is nothing."""

import io
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.plankwright_model import BiLstmConfig, BiLstmForSequenceClassification, turned
from compression.errors import InputError, Stopped
from compression.evaluation import cost
from compression.evaluation.onnx_model import OnnxModel
from compression.events import EventWriter
from compression.export.verify import verify
from compression.methods.distill.bilstm import reduced
from compression.methods.distill.params import DistillParams
from compression.methods.shape import ModelShape
from compression.run import run
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

STUDENT = {"type": "bilstm", "hidden_size": 6, "layers": 2, "embedding_size": 8}
STEP: dict[str, Any] = {"method": "distill", "student": STUDENT, "training": TRAINING}


@pytest.fixture(autouse=True)
def _measured_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)


def test_a_pair_goes_the_whole_way(tmp_path: Path) -> None:
    """As its own file loads it, and in ONNX, float and 8 bits, whatever the number and the length of the rows."""
    spec = make_spec(tmp_path, [STEP], pairs=True, exports=["onnx", "onnx-int8"])
    report = run_to_end(spec, tmp_path / "out")
    folder, artifacts = tmp_path / "out" / "model", tmp_path / "out" / "artifacts"
    facts = inspect_checkpoint(folder)
    foreseen = spec.plan.steps[0].resulting(ModelShape.of(inspect_checkpoint(spec.model)))
    assert ModelShape.of(facts) == foreseen
    assert [file.name for file in report.files] == ["model.tar", "model.onnx", "model.int8.onnx"]
    assert verify(artifacts).largest_difference < 1e-6
    assert not report.after.plain
    card = (artifacts / "README.md").read_text()
    assert "transformers alone cannot read: the file `plankwright_model.py`" in card

    model = runpy.run_path(str(folder / "plankwright_model.py"))["load"](folder)
    assert type(AutoModelForSequenceClassification.from_pretrained(folder)) is type(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row in map(json.loads, (artifacts / "predictions.jsonl").read_text("utf-8").splitlines()):
        with torch.inference_mode():
            logits = model(**tokenizer(row["text"], row["text_pair"], return_tensors="pt")).logits[0]
        np.testing.assert_allclose(logits.numpy(), row["after"], atol=1e-5)

    draw = torch.Generator().manual_seed(0)
    for rows, length in ((1, 1), (1, 9), (3, 7), (32, 12), (2, 64)):
        pieces = torch.randint(5, 100, (rows, length), generator=draw)
        pieces[-1, length // 3] = tokenizer.sep_token_id
        mask = torch.ones_like(pieces)
        mask[0, (length + 1) // 2 :] = 0
        with torch.inference_mode():
            expected = model(pieces, mask).logits
        for name, tolerance in (("model.onnx", 1e-5), ("model.int8.onnx", 0.05)):
            found = OnnxModel(artifacts / name, model.config, 1)(input_ids=pieces, attention_mask=mask)
            torch.testing.assert_close(found.logits, expected, atol=tolerance, rtol=0)


def test_an_interruption_changes_nothing(tmp_path: Path) -> None:
    steps = [
        {"method": "trim_vocabulary", "keep_share": 0.985},
        STEP,
        {"method": "quantize", "scheme": "bfloat16"},
    ]
    spec = make_spec(tmp_path, steps, unlabelled=["train"])
    run_to_end(spec, tmp_path / "whole")
    for checks in (9, 14, 17):
        out = tmp_path / str(checks)
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        run_to_end(resumed(spec, out), out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")

    barely = STEP | {"training": TRAINING | {"learning_rate": 1e-12}}
    (tmp_path / "barely").mkdir()
    run_to_end(make_spec(tmp_path / "barely", [steps[0], barely, steps[2]]), tmp_path / "barely" / "out")
    assert weights_of(tmp_path / "barely" / "out") != weights_of(tmp_path / "whole")


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "roberta", "pairs": True},
        {"architecture": "electra", "regression": True},
        {"several": True},
        {"task": "token-classification", "exports": ["onnx", "onnx-int8"]},
    ],
)
def test_every_task_that_it_serves_is_learnt(tmp_path: Path, options: dict[str, Any]) -> None:
    """The loss falls, and what is delivered answers rows in different ways: in ONNX too, piece by piece."""
    training = TRAINING | {"epochs": 6, "learning_rate": 0.02}
    spec = make_spec(tmp_path, [STEP | {"training": training}], **options, layers=1)
    report = run_to_end(spec, tmp_path / "out")
    losses = [point.value for point in report.curves["loss"]]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.architecture, facts.labels) == ("bilstm", inspect_checkpoint(spec.model).labels)
    assert len(report.files) == 1 + len(options.get("exports", ()))
    assert verify(tmp_path / "out" / "artifacts").largest_difference < 1e-5


def tiny_model(**settings: Any) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 50, "embedding_size": 4, "hidden_size": 3, "num_hidden_layers": 2}
    model: Any = BiLstmForSequenceClassification(BiLstmConfig(**sizes, initializer_range=1.0, **settings))
    return model.eval()


@pytest.mark.parametrize("separator", [None, 2])
def test_padding_changes_nothing(separator: int | None) -> None:
    model = tiny_model(sep_token_id=separator)
    row = torch.tensor([[1, 7, 8, 2, 9, 2]])
    other = torch.tensor([[1, 7, 8, 2, 9, 2, 11, 12]])
    padded = torch.cat([torch.cat([row, torch.tensor([[0, 2]])], dim=1), other])
    mask = torch.tensor([[1] * 6 + [0] * 2, [1] * 8])
    with torch.inference_mode():
        both = model(padded, mask).logits
        torch.testing.assert_close(both[:1], model(row).logits)
        torch.testing.assert_close(both[1:], model(other).logits)
        assert not torch.allclose(both[:1], model(padded[:1]).logits, atol=1e-4)


def test_the_head_compares_what_stands_before_and_behind_the_first_separator() -> None:
    model = tiny_model(sep_token_id=2)
    row = torch.tensor([[1, 7, 8, 2, 9, 11, 2]])
    seen: list[torch.Tensor] = []
    model.dense.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        model(row)
        (states,) = model.lstm(row, torch.ones_like(row))
    u, v = states[:4].amax(dim=0), states[4:].amax(dim=0)
    torch.testing.assert_close(seen[0][0], torch.cat([u, v, (u - v).abs(), u * v]))


def test_every_position_sees_all_others() -> None:
    """Both directions reach through: torch's own bidirectional LSTM gives the same states."""
    torch.manual_seed(0)
    layer = tiny_model().lstm.layers[0]
    lstm = torch.nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for name, parameter in layer.named_parameters():
        direction, kind = name.split(".")
        twin = getattr(lstm, kind + ("_reverse" if direction == "backwards" else ""))
        twin.data = parameter.data
    states = torch.randn(2, 5, 4)
    with torch.inference_mode():
        found, expected = layer(states, torch.tensor([5, 5])), lstm(states)[0]
    torch.testing.assert_close(found, expected)
    short = turned(states, torch.tensor([3, 5]))
    torch.testing.assert_close(short[0], states[0, [2, 1, 0, 3, 4]])


def test_the_table_keeps_how_word_pieces_lie_to_each_other() -> None:
    torch.manual_seed(0)
    table = torch.randn(40, 3) @ torch.randn(3, 10) + 5
    whole, three, two = (reduced(table, width) for width in (20, 3, 2))
    assert (whole.shape, three.shape, two.shape) == ((40, 10), (40, 3), (40, 2))
    own, kept = torch.pdist(table), torch.pdist(three)
    torch.testing.assert_close(kept / kept.mean(), own / own.mean())
    assert two.square().mean().item() == pytest.approx(1, abs=1e-4)


def test_products_of_lstms_are_counted(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [STEP])
    report = run_to_end(spec, tmp_path / "out")
    pieces = report.after.latency[0].sequence_length
    layers = sum(2 * 4 * 6 * (width + 6) for width in (8, 12))
    assert report.after.flops == pieces * layers + 12 * 12 + 12 * 2


REFUSED: list[tuple[list[dict[str, Any]], dict[str, Any], str, str]] = [
    ([STEP, {"method": "theseus"}], {}, "/steps/1/method", "its layers are LSTMs"),
    ([STEP, {"method": "layer_drop"}], {}, "/steps/1/method", "its layers are LSTMs"),
    ([STEP, {"method": "prune"}], {}, "/steps/1/method", "its layers are LSTMs"),
    ([STEP, {"method": "quantize", "scheme": "int8-static"}], {}, "/steps/1/scheme", "its layers are LSTMs"),
    ([STEP, {"method": "quantize", "recovery": {}}], {}, "/steps/1/recovery", "without recovery"),
    ([STEP | {"cosine_weight": 1}], {}, "/steps/0/cosine_weight", "leave the term out"),
    ([STEP], {"task": "fill-mask"}, "/steps/0/student/type", "does not serve the task fill-mask"),
]


@pytest.mark.parametrize(("steps", "options", "place", "reason"), REFUSED)
def test_what_cannot_be_done_is_refused_with_the_reason(
    tmp_path: Path, steps: list[dict[str, Any]], options: dict[str, Any], place: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as refused:
        make_spec(tmp_path, steps, **options)
    assert [(p.code, p.place) for p in refused.value.problems] == [("method_does_not_fit", place)]


def test_its_vocabulary_is_the_models_and_cannot_be_trimmed_further(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must stay") as refused:
        make_spec(tmp_path, [STEP, {"method": "trim_vocabulary", "keep_share": 0.5}])
    assert [(p.code, p.place) for p in refused.value.problems] == [("vocabulary_size", "/steps/1/keep_share")]


def test_settings() -> None:
    """What suits LSTMs holds where nothing else is said; a plan read again is the same."""
    params = DistillParams.model_validate({"student": {"type": "bilstm"}, "training": {"epochs": 1}})
    assert (params.preset, params.training.epochs, params.training.precision) == ("bilstm", 1, "float32")
    assert params.training.learning_rate > 1e-3
    assert DistillParams.model_validate(params.model_dump(mode="json")) == params
    assert DistillParams.model_validate({"preset": "bilstm", "training": {"epochs": 1}}) == params
    with pytest.raises(ValidationError, match="go together"):
        DistillParams.model_validate({"student": {"type": "bilstm"}, "preset": "patient"})
    with pytest.raises(ValidationError, match="hidden_size"):
        DistillParams.model_validate({"student": {"type": "bilstm", "hidden_size": 0}})
