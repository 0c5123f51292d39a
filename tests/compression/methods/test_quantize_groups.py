"""Codes of few bits: what is stored is what was trained, within the budget, and nothing else is believed."""

import io
import itertools
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from compression.architectures import anatomy_of
from compression.checkpoints.few_bits import CLIPPED, encode, in_few_bits, rounded
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source, put_form, save_checkpoint
from compression.checkpoints.plankwright_model import pack_codes, packed, unpack_codes, unpacked
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.export.verify import verify
from compression.methods.prune.method import remove_smallest
from compression.methods.quantize import allocation
from compression.methods.quantize.allocation import allocated, costs_of
from compression.methods.quantize.params import QuantizeParams
from compression.methods.quantize.rounded import learn_in_groups
from compression.run import run
from compression.spec import RunSpec
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

CPU = torch.device("cpu")
STEP = {
    "method": "quantize",
    "scheme": "group-wise",
    "bits": 2.7,
    "group_size": 24,
    "recovery": TRAINING,
    "distillation": {},
}
Delivered = tuple[RunSpec, Path]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    folder = tmp_path_factory.mktemp("delivered")
    spec = make_spec(folder, [STEP], evaluation={"latency": {"batch_sizes": [1]}}, layers=2)
    weights = load_file(spec.model / "model.safetensors")
    for way_out in ("attention.output.dense", "output.dense"):  # nothing of the first layer matters
        weights[f"bert.encoder.layer.0.{way_out}.weight"].zero_()
    save_file(weights, spec.model / "model.safetensors", metadata={"format": "pt"})
    run_to_end(spec, folder / "out")
    return spec, folder / "out"


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_are_packed_without_a_gap_and_come_back(bits: int) -> None:
    for count in (0, 1, 7, 8, 9, 1001):
        codes = torch.randint(2**bits, (count,), generator=torch.Generator().manual_seed(count)).to(
            torch.uint8
        )
        bytes_ = pack_codes(codes, bits)
        assert (bytes_.shape, bytes_.is_contiguous()) == ((-(-count // 8) * bits,), True)
        assert torch.equal(unpack_codes(bytes_, bits, count), codes)


@pytest.mark.parametrize("bits", CLIPPED)
def test_a_short_group_at_the_end_is_a_group_like_others(bits: int) -> None:
    values = draw(3, 100)
    codes, scales = encode(values, bits, 64)
    assert (codes.shape, scales.shape, int(codes.max()) < 2**bits) == ((3, 100), (3, 2), True)
    apart = torch.cat([rounded(values[:, :64], bits, 64), rounded(values[:, 64:], bits, 64)], dim=1)
    assert torch.equal(rounded(values, bits, 64), apart)
    assert torch.equal(rounded(torch.zeros(2, 5), bits, 3), torch.zeros(2, 5))


@pytest.mark.parametrize("bits", CLIPPED)
def test_the_error_is_less_than_that_of_the_whole_range(bits: int) -> None:
    values = draw(50, 128)
    scales = values.abs().amax(dim=1, keepdim=True) / ((2**bits - 1) / 2)
    whole_range = ((values / scales - 0.5).round() + 0.5) * scales
    errors = [(found - values).square().sum() for found in (rounded(values, bits, 128), whole_range)]
    assert errors[0] < errors[1]


def test_a_pruned_matrix_keeps_its_zeros() -> None:
    linear = torch.nn.Linear(30, 7, bias=False)
    sparse = draw(7, 30)
    sparse[sparse.abs() < 0.8] = 0
    stored = in_few_bits(packed({"weight": sparse}), {"weight": 3}, 16)
    assert set(stored) == {"weight.mask", "weight.codes", "weight.scales"}
    assert len(stored["weight.codes"]) == -(-int(sparse.count_nonzero()) // 8) * 3
    whole = unpacked(stored, linear, {"bits": {"weight": 3}, "group_size": 16})["weight"]
    assert torch.equal(whole == 0, sparse == 0)
    assert torch.equal(whole[sparse != 0], rounded(sparse[sparse != 0], 3, 16))


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
@pytest.mark.parametrize("pruned", [False, True])
def test_training_rounds_weights_as_the_file_does(tmp_path: Path, architecture: Any, pruned: bool) -> None:
    """GPT-2 stores the matrices of its layers the other way round."""
    source = open_source(make_tiny_checkpoint(tmp_path / "source", architecture))
    model = load_model(source.folder, source.facts, CPU)
    names = [name for name, weight in model.named_parameters() if weight.ndim == 2 and len(weight) > 8]
    bits = dict(zip(names, itertools.cycle((2, 3, 4, 8)), strict=False))
    if pruned:
        for weight in anatomy_of(model).weights_of(model):
            remove_smallest(weight.detach(), 0.6)
    put_form(model, bits=bits, group_size=24, packed=pruned)
    save_checkpoint(model, source, None, tmp_path / "saved")
    ids = torch.tensor([[2, 80, 81, 3]])
    exact = model(input_ids=ids).logits
    learn_in_groups(model, bits, 24)
    learnt = model(input_ids=ids).logits
    learnt.sum().backward()
    assert all(float(model.get_parameter(name).grad.abs().sum()) > 0 for name in bits)  # type: ignore[union-attr]
    facts = inspect_checkpoint(tmp_path / "saved")
    read = load_model(tmp_path / "saved", facts, CPU)
    torch.testing.assert_close(read(input_ids=ids).logits, learnt, atol=1e-6, rtol=0)
    assert float((exact - learnt).detach().abs().max()) > 1e-3
    assert (facts.few_bits, facts.plain, facts.parameters) == (True, False, source.facts.parameters)

    # What was loaded has float32 weights: a job that goes on from it stores them so, unless it rounds them again.
    save_checkpoint(read, source, None, tmp_path / "again")
    assert inspect_checkpoint(tmp_path / "again").plain != pruned


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_bits_cost_what_the_file_loses(
    tmp_path: Path, architecture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", architecture, layers=1))
    model = load_model(source.folder, source.facts, CPU)
    linear = anatomy_of(model).matrices_of(model, embeddings=False)
    matrices = {f"{path}.weight": module for path, module in linear.items() if isinstance(module, nn.Linear)}
    for weight in anatomy_of(model).weights_of(model):
        remove_smallest(weight.detach(), 0.6)
    put_form(model, bits=dict.fromkeys(matrices, 3), group_size=24, packed=True)
    save_checkpoint(model, source, None, tmp_path / "saved")
    read = load_model(tmp_path / "saved", inspect_checkpoint(tmp_path / "saved"), CPU).state_dict()
    flat = {name: torch.ones(len(module.weight)) * module.in_features for name, module in matrices.items()}
    monkeypatch.setattr(allocation, "gradient_sizes", lambda *_: flat)  # a curvature of 1 everywhere
    nothing: Any = None
    costs = costs_of(
        model, dict(matrices), nothing, QuantizeParams(scheme="group-wise", group_size=24), nothing
    )
    lost = {
        name: float((read[name] - module.weight.detach()).square().sum()) for name, module in matrices.items()
    }
    assert {name: cost[3] for name, cost in costs.items()} == pytest.approx(lost, rel=1e-4)


def test_the_average_is_kept_and_the_report_says_what_it_is_worth(delivered: Delivered) -> None:
    spec, out = delivered
    report = json.loads((out / "artifacts" / "report.json").read_text())
    form = json.loads((out / "model" / "config.json").read_text())["plankwright"]
    tensors = load_file(out / "model" / "plankwright.safetensors")
    shapes = {name: tensor.shape for name, tensor in load_file(spec.model / "model.safetensors").items()}
    assert all(
        len(tensors[f"{n}.codes"]) == shapes[n].numel() * bits // 8 for n, bits in form["bits"].items()
    )
    layers = {name: bits for name, bits in form["bits"].items() if ".layer." in name}
    sizes = {name: shapes[name].numel() for name in layers}
    used = sum(sizes[name] * bits for name, bits in layers.items())
    assert 2.7 * sum(sizes.values()) - min(sizes.values()) < used <= 2.7 * sum(sizes.values())
    assert len(set(layers.values())) > 1
    assert form["bits"]["bert.embeddings.word_embeddings.weight"] == 8
    assert "classifier.weight" not in form["bits"]
    assert report["after"]["bytes"] == (out / "model" / "plankwright.safetensors").stat().st_size
    assert [(file["name"], file["precision"]) for file in report["files"]] == [("model.tar", "float32")]
    assert (report["after"]["plain"], report["after"]["parameters"]) == (
        False,
        report["before"]["parameters"],
    )
    assert len(report["notes"]) == 1
    assert "no less memory and time" in report["notes"][0]


def test_what_was_measured_is_what_users_load(delivered: Delivered) -> None:
    _, out = delivered
    assert verify(out / "artifacts").largest_difference == 0
    loaded = runpy.run_path(str(out / "model" / "plankwright_model.py"))["load"](out / "model")
    ours = load_model(out / "model", inspect_checkpoint(out / "model"), CPU)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), ours.parameters(), strict=True))


def test_interrupted_anywhere_equals_uninterrupted(delivered: Delivered, tmp_path: Path) -> None:
    spec, whole = delivered
    attempt, interruptions = spec, 0
    for number in range(20):
        try:
            run(attempt, tmp_path / str(number), EventWriter(io.StringIO()), stop_after(3 + 4 * number))
            break
        except Stopped:
            interruptions += 1
        if any((tmp_path / str(number) / "checkpoints").glob("*.safetensors")):
            attempt = resumed(spec, tmp_path / str(number))
    assert interruptions > 3
    assert weights_of(tmp_path / str(number)) == weights_of(whole)
    report = json.loads((tmp_path / str(number) / "artifacts" / "report.json").read_text())
    assert len(report["notes"]) == 1


QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def less_of(part: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "plankwright.safetensors")
        tensors[f"{QUERY}.{part}"] = tensors[f"{QUERY}.{part}"][:-1].clone()
        save_file(tensors, folder / "plankwright.safetensors")

    return change


def other_form(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for key, value in changes.items():
            config["plankwright"][key] = config["plankwright"][key] | value if key == "bits" else value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def endless(folder: Path) -> None:
    tensors = load_file(folder / "plankwright.safetensors")
    tensors[f"{QUERY}.scales"][0] = torch.inf
    save_file(tensors, folder / "plankwright.safetensors")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (less_of("codes"), "wrong_shape"),
        (less_of("scales"), "wrong_shape"),
        (endless, "non_finite_weights"),
        (other_form(bits={QUERY: 8}), "wrong_shape"),
        (other_form(bits={QUERY: 1}), "invalid_config_value"),
        (other_form(bits={"classifier.bias": 2}), "invalid_config_value"),
        (other_form(bits={"classifier.weight": 2}), "missing_weights"),
        (other_form(group_size=8), "wrong_shape"),
        (other_form(group_size=0), "invalid_config_value"),
    ],
)
def test_codes_that_lie_are_refused(
    delivered: Delivered, tmp_path: Path, change: Callable[[Path], None], code: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (delivered[1] / "model").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    with pytest.raises(InputError) as refused:
        inspect_checkpoint(folder)
    assert refused.value.code == code


def brute_force(costs: dict[str, dict[int, float]], average: float) -> float:
    """The least sum of costs of matrices of one size."""
    choices = itertools.product((2, 3, 4), repeat=len(costs))
    return min(
        sum(cost[bits] for cost, bits in zip(costs.values(), choice, strict=True))
        for choice in choices
        if sum(choice) <= average * len(costs)
    )


def test_bits_go_where_they_save_most() -> None:
    weights = (9.0, 1.0, 30.0, 0.2, 4.0)
    costs = {f"m{i}": {2: w * 0.13, 3: w * 0.04, 4: w * 0.012} for i, w in enumerate(weights)}
    for average in (2, 2.4, 3, 3.6, 4):
        bits = allocated(costs, dict.fromkeys(costs, 64), average)
        assert sum(costs[name][number] for name, number in bits.items()) == pytest.approx(
            brute_force(costs, average)
        )
    large = allocated(costs, dict.fromkeys(costs, 64) | {"m2": 6400}, 2.08)
    assert large == {"m0": 4, "m1": 4, "m2": 2, "m3": 4, "m4": 4}  # too large for the budget: others have it


def test_bits_go_where_the_loss_has_curvature(delivered: Delivered) -> None:
    """To a layer that nothing depends on only what is left, too little for a matrix of those that matter."""
    form = json.loads((delivered[1] / "model" / "config.json").read_text())["plankwright"]
    tensors = load_file(delivered[0].model / "model.safetensors")
    raised = {name: tensors[name].numel() * (bits - 2) for name, bits in form["bits"].items()}
    dead, alive = (sum(size for n, size in raised.items() if f".layer.{i}." in n) for i in (0, 1))
    assert dead < max(tensor.numel() for name, tensor in tensors.items() if ".layer." in name)
    assert alive > 4 * dead


@pytest.mark.parametrize(
    "settings",
    [
        {"scheme": "group-wise", "allocation": "uniform", "bits": 2.5},
        {"scheme": "group-wise", "bits": 5},
        {"scheme": "group-wise", "embedding_bits": 2},
        {"scheme": "group-wise", "distillation": {}},
        {"scheme": "int8-dynamic", "bits": 3},
        {"scheme": "bfloat16", "group_size": 64},
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QuantizeParams.model_validate(settings)


def test_settings_survive_being_written_out() -> None:
    """A plan is written with all its settings, and read again."""
    for scheme in ("int8-dynamic", "group-wise"):
        params = QuantizeParams.model_validate({"scheme": scheme})
        assert QuantizeParams.model_validate(params.model_dump(mode="json")) == params
