"""Zeros come as scheduled, stay, and are not stored."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.plankwright_model import load, packed
from compression.errors import InputError
from compression.methods.prune.method import remove_smallest
from compression.methods.prune.params import PruneParams
from compression.training.precision import MixedPrecision
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import METHOD_SETTINGS, TRAINING, make_spec, run_to_end


def test_the_schedule_is_cubic_and_ends_before_the_training() -> None:
    params = PruneParams(sparsity=0.8, full_at=0.5)
    assert [round(params.sparsity_after(step, 100), 3) for step in (0, 10, 25, 50, 90)] == [
        0,
        0.39,
        0.7,
        0.8,
        0.8,
    ]
    assert PruneParams(full_at=0.999).full_step(10) == 9


def test_the_smallest_go() -> None:
    weights = torch.tensor([[3.0, -0.5, 0.1], [-4.0, 0.2, 1.0]])
    remove_smallest(weights, 0.5)
    assert weights.tolist() == [[3, 0, 0], [-4, 0, 1]]


def test_what_is_removed_has_no_momentum_and_no_part_in_the_norm_that_gradients_are_clipped_to(
    tmp_path: Path,
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=1))
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    matrix = model.get_parameter("bert.encoder.layer.0.output.dense.weight")
    weights = MixedPrecision(model, model.parameters(), torch.float32, 0.01, sparse=[matrix])
    matrix.grad = torch.ones_like(matrix)
    weights.step(learning_rate=0.1, clip_norm=1e9)
    weights.exact(matrix)[0] = 0
    weights.settle_zeros()
    matrix.grad = torch.zeros_like(matrix)
    matrix.grad[0], matrix.grad[1, 0] = 100, 0.5
    weights.step(learning_rate=0.1, clip_norm=1.0)
    assert not matrix[0].any()
    start = weights.places[matrix] + matrix.shape[1]
    assert float(weights.moments[0][start]) == pytest.approx(0.9 * 0.1 * 1 + 0.1 * 0.5)  # not scaled down


def zeros_of(folder: Path) -> dict[str, float]:
    """The share of zeros in each matrix that `prune` is about."""
    return {
        name: float((tensor == 0).float().mean())
        for name, tensor in load(folder).state_dict().items()
        if tensor.ndim == 2 and ("layer." in name or "word_embeddings" in name)
    }


@pytest.mark.parametrize(
    ("storage", "second"),
    [
        ("packed", "layer_drop"),
        ("dense", "layer_drop"),
        ("packed", "theseus"),
        ("packed", "distill"),
        ("packed", "quantize"),
    ],
)
def test_a_later_training_does_not_fill_zeros_again(tmp_path: Path, storage: str, second: str) -> None:
    steps = [
        {"method": "prune", "sparsity": 0.75, "storage": storage, "training": TRAINING | {"max_steps": 3}},
        {"method": second, **METHOD_SETTINGS[second]}
        | ({"scheme": "group-wise"} if second == "quantize" else {}),
    ]
    run_to_end(make_spec(tmp_path, steps), tmp_path / "out")
    assert inspect_checkpoint(tmp_path / "out" / "model").packed == (storage == "packed")
    zeros = zeros_of(tmp_path / "out" / "model")
    assert zeros == pytest.approx(dict.fromkeys(zeros, 0.75), abs=0.01)


@pytest.mark.parametrize("storage", ["packed", "dense"])
def test_every_matrix_has_its_share_of_zeros(tmp_path: Path, storage: str) -> None:
    step = {"method": "prune", "sparsity": 0.75, "storage": storage, "training": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    folder = tmp_path / "out" / "model"
    assert report.after.plain == (storage == "dense")
    assert report.after.nonzero_parameters < 0.4 * report.after.parameters
    weights = load(folder).state_dict() if storage == "packed" else load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if tensor.ndim == 2 and ("layer." in name or "word_embeddings" in name):
            assert float((tensor == 0).float().mean()) == pytest.approx(0.75, abs=0.01), name
    assert report.curves["sparsity"][-1].value == 0.75


def test_packing_is_exact_and_left_where_it_does_not_pay() -> None:
    sparse, full = torch.randn(7, 9), torch.randn(5)
    sparse[sparse.abs() < 1] = 0
    stored = packed({"a.weight": sparse, "b": full})
    assert set(stored) == {"a.weight.mask", "a.weight.values", "b"}
    assert len(stored["a.weight.mask"]) == 8


def test_a_mask_that_lies_is_refused(tmp_path: Path) -> None:
    step = {"method": "prune", "training": TRAINING | {"max_steps": 2}, "distillation": None}
    run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    file = tmp_path / "out" / "model" / "plankwright.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith(".values"))
    tensors[name] = tensors[name][1:].clone()
    save_file(tensors, file)
    with pytest.raises(InputError, match="places for") as refused:
        inspect_checkpoint(tmp_path / "out" / "model")
    assert refused.value.code == "wrong_shape"
