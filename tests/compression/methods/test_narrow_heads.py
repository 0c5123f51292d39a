"""Which attention heads go, and that what is left is the same model wherever it is loaded."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.plankwright_model import load
from compression.context import Context, TaskData
from compression.data.batches import collate, epoch_batches
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.methods.narrow.importance import best_heads, importance_of
from compression.methods.narrow.units import Layer
from compression.run import run
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.checkpoints.changes import config
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import (
    TRAINING,
    make_spec,
    predictions_of,
    resumed,
    run_to_end,
    stop_after,
    weights_of,
)

CPU = torch.device("cpu")
HEADS: dict[str, Any] = {
    "method": "narrow", "intermediate_size": 32, "attention_heads": 2, "rows": 32, "recovery": None,
}  # fmt: skip
OUTPUTS: dict[Architecture, str] = {
    "bert": "layer.{}.attention.output.dense.weight",
    "distilbert": "layer.{}.attention.out_lin.weight",
}
FOUR = {"num_attention_heads": 4}


@pytest.mark.parametrize("architecture", list(OUTPUTS))
def test_heads_that_nobody_reads_go_first_and_nothing_changes(
    tmp_path: Path, architecture: Architecture
) -> None:
    """Three of four in the first layer, one in the second: as many as are to go, wherever they are."""
    spec = make_spec(tmp_path, [HEADS], architecture=architecture, layers=2, config=FOUR)
    file = spec.model / "model.safetensors"
    weights = load_file(file)
    for layer, idle in ((0, [0, 2, 3]), (1, [1])):
        (name,) = (name for name in weights if name.endswith(OUTPUTS[architecture].format(layer)))
        for head in idle:
            weights[name][:, head * 4 : head * 4 + 4] = 0
    save_file(weights, file, metadata={"format": "pt"})
    report = run_to_end(spec, tmp_path / "out")
    assert report.loyalty.probability.value == pytest.approx(1.0, abs=1e-4)
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.fewer_heads, facts.plain, facts.attention_heads) == (True, False, 4)
    assert report.before.parameters - report.after.parameters == 4 * (4 * 16 * 4 + 3 * 4)
    model = load(tmp_path / "out" / "model")
    query = anatomy_of(model).attention[0]
    kept = [layer.get_submodule(query).out_features for layer in anatomy_of(model).layers_of(model)]
    assert kept == [4, 12]


def test_importance_is_the_gradient_of_a_mask(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m", num_attention_heads=4))
    model = load_model(source.folder, source.facts, CPU)
    data = of_rows(classification(), np.array([1, 0, 1, 1] * 12), [3, 5, 4, 6] * 12)
    context = Context(
        source=source, device=CPU, dtype=torch.float32, seed=0, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=1,
    )  # fmt: skip
    anatomy = anatomy_of(model)
    layers = [Layer(layer, anatomy, 4) for layer in anatomy.layers_of(model)]
    found = importance_of(
        model, layers, TaskData(data.task, "accuracy", data, None, data), 48, context, 3
    ).heads

    masks = [torch.ones(4, requires_grad=True) for _ in layers]
    for layer, mask in zip(layers, masks, strict=True):
        spread = lambda _, inputs, mask=mask: inputs[0] * mask.repeat_interleave(4)  # noqa: E731
        layer.attention[-1].register_forward_pre_hook(spread)
    expected = [torch.zeros(4) for _ in layers]
    for rows in epoch_batches(data, 32, 0, 3):
        batch = collate(data, rows, CPU)
        loss = torch.nn.functional.cross_entropy(model(**batch.inputs).logits, batch.labels)
        for total, gradient in zip(expected, torch.autograd.grad(loss, masks), strict=True):
            total += gradient.abs()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_heads_are_ranked_over_all_layers_and_each_layer_keeps_its_best() -> None:
    importances = [torch.tensor([4.0, 3.0, 1.0, 1.0]), torch.tensor([0.1, 0.1, 0.1, 0.1])]
    assert best_heads(importances, 4) == [[0, 1], [0, 1]]  # by shares of each layer's norm
    assert best_heads([torch.tensor([9.0, 9.0, 8.0, 8.0]), torch.zeros(4)], 4) == [[0, 1, 2], [0]]


def test_what_is_loaded_by_the_module_beside_the_weights_answers_the_same(tmp_path: Path) -> None:
    """After more steps too, to which such a model comes as it is; and as ONNX."""
    steps = [
        HEADS | {"recovery": TRAINING | {"max_steps": 2}},
        {"method": "theseus", "successor_layers": 2, "training": TRAINING | {"max_steps": 2}},
        {"method": "low_rank", "keep_share": 0.7, "rows": 16, "recovery": None},
    ]
    spec = make_spec(
        tmp_path,
        steps,
        layers=3,
        config=FOUR,
        exports=["safetensors", "onnx"],
    )
    run_to_end(spec, tmp_path / "out")
    model, rows = load(tmp_path / "out" / "model"), predictions_of(tmp_path / "out")
    tokenizer = open_source(tmp_path / "out" / "model").tokenizer
    for row in rows[:3]:
        with torch.no_grad():
            logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
        torch.testing.assert_close(logits, torch.tensor(row["after"]), atol=1e-4, rtol=1e-4)

    (tmp_path / "again").mkdir()
    again = make_spec(tmp_path / "again", [{"method": "layer_drop", "keep_layers": 1, "recovery": None}])
    run_to_end(again.model_copy(update={"model": tmp_path / "out" / "model"}), tmp_path / "again" / "out")
    assert inspect_checkpoint(tmp_path / "again" / "out" / "model").fewer_heads


def test_fewer_heads_are_stored_without_zeros_and_in_few_bits_as_others_are(tmp_path: Path) -> None:
    steps = [
        HEADS,
        {"method": "prune", "training": TRAINING | {"max_steps": 3}},
        {"method": "quantize", "scheme": "group-wise"},
    ]
    report = run_to_end(make_spec(tmp_path, steps, layers=2, config=FOUR), tmp_path / "out")
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.fewer_heads, facts.packed, facts.few_bits) == (True, True, True)
    model = load(tmp_path / "out" / "model")
    assert sum(parameter.numel() for parameter in model.parameters()) == report.after.parameters


def test_an_interruption_between_rounds_changes_nothing(tmp_path: Path) -> None:
    step = HEADS | {"rounds": 3, "recovery": TRAINING | {"max_steps": 3}}
    spec = make_spec(tmp_path, [step], config=FOUR)
    run_to_end(spec, tmp_path / "whole")
    for checks in (6, 15, 20, 24):
        out = tmp_path / f"stopped-{checks}"
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        run_to_end(resumed(spec, out), out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")


UNFIT: list[tuple[Architecture, list[dict[str, Any]], str, str]] = [
    ("mpnet", [HEADS], "method_does_not_fit", "/steps/0/attention_heads"),
    ("bert", [HEADS | {"attention_heads": 4}], "nothing_to_remove", "/steps/0/attention_heads"),
    ("bert", [HEADS, {"method": "tinybert"}], "heads_removed", "/steps/1"),
    ("bert", [HEADS, {"method": "share"}], "heads_removed", "/steps/1"),
    (
        "bert",
        [HEADS, {"method": "distill", "attention_weight": 1}],
        "heads_removed",
        "/steps/1/attention_weight",
    ),
]


@pytest.mark.parametrize(("architecture", "steps", "code", "place"), UNFIT)
def test_what_cannot_be_is_refused(
    tmp_path: Path, architecture: Architecture, steps: list[dict[str, Any]], code: str, place: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, steps, architecture=architecture, config=FOUR)
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]


def test_sizes_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    run_to_end(make_spec(tmp_path, [HEADS], config=FOUR), tmp_path / "out")
    folder = tmp_path / "out" / "model"
    untouched = json.loads((folder / "config.json").read_text())["plankwright"]
    sizes: dict[str, list[int]] = untouched["sizes"]
    path = sorted(path for path in sizes if path.endswith("query"))[0]
    layer = path.rpartition(".attention.")[0]
    no_whole_head = {
        name: [16 if n == 16 else 6 for n in size] for name, size in sizes.items() if layer in name
    }
    for changed, code in (
        (no_whole_head, "invalid_config_value"),
        ({path: [16, 16]}, "invalid_config_value"),
        ({path: [16, 3]}, "invalid_config_value"),
        ({"classifier": [16, 2]}, "invalid_config_value"),
        ({path: [16, -4]}, "invalid_config_value"),
    ):
        config(plankwright=untouched | {"sizes": sizes | changed})(folder)
        with pytest.raises(InputError) as refused:
            inspect_checkpoint(folder)
        assert refused.value.code == code, changed
    other = {path: sorted([16, 8 if 4 in size else 4], reverse=size[0] == 16) for path, size in sizes.items()}
    config(plankwright=untouched | {"sizes": other})(folder)
    with pytest.raises(InputError) as refused:
        inspect_checkpoint(folder)
    assert refused.value.code == "wrong_shape"
