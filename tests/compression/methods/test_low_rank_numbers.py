"""What factorisation is weighted by, the ranks that a budget buys and the factors, beside numbers made by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.data.batches import collate, epoch_batches
from compression.data.encoding import Array
from compression.methods.low_rank.factors import Factorised, ranks_within
from compression.methods.low_rank.method import run
from compression.methods.low_rank.params import LowRankParams, Weighting
from compression.methods.low_rank.weighting import scales
from tests.compression.bare import CPU, context_of, data_of, hidden, load
from tests.compression.encoded import classification, of_rows

ROWS = of_rows(classification(), np.arange(40) % 2, [5, 3, 4, 7] * 10)
BATCHES = [collate(ROWS, rows, CPU) for rows in epoch_batches(ROWS, 32, 0, 0)]
TABLE = "bert.embeddings.word_embeddings"


def found(tmp_path: Path, weighting: Weighting) -> tuple[PreTrainedModel, dict[str, tuple[Array, Array]]]:
    """Weights of the rows and the columns of every matrix."""
    model, params = load(tmp_path, 2, seed=6), LowRankParams(weighting=weighting, rows=40)
    matrices = anatomy_of(model).matrices_of(model, embeddings=True)
    weights = scales(model, matrices, data_of(ROWS), params, context_of(tmp_path))
    return model, {path: (rows.numpy(), columns.numpy()) for path, (rows, columns) in weights.items()}


def root(squares: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(squares, 1e-3 * squares.mean())))


@torch.no_grad()
def inputs_of(model: PreTrainedModel, layer: int) -> dict[str, torch.Tensor]:
    """What each linear map of a layer is multiplied with, made of the states before it, row by row (P, ...)."""
    found: dict[str, list[torch.Tensor]] = {}
    for batch in BATCHES:
        for states, row in zip(hidden(model, layer, batch), batch.rows, strict=True):
            for name, inputs in inputs_for(model, layer, states[: ROWS.lengths[row]]).items():
                found.setdefault(name, []).append(inputs)
    return {name: torch.cat(inputs) for name, inputs in found.items()}


def inputs_for(model: PreTrainedModel, layer: int, states: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same for the states (L, 16) of one row, without padding."""
    part = model.get_submodule(f"bert.encoder.layer.{layer}")
    query, key, value = (
        part.get_submodule(f"attention.self.{name}")(states).unflatten(-1, (2, 8)).transpose(0, 1)
        for name in ("query", "key", "value")
    )
    attended = ((query @ key.mT / 8**0.5).softmax(-1) @ value).transpose(0, 1).flatten(1)
    after = part.get_submodule("attention.output.LayerNorm")(
        part.get_submodule("attention.output.dense")(attended) + states
    )
    neurons = functional.gelu(part.get_submodule("intermediate.dense")(after))
    own = {f"attention.self.{name}": states for name in ("query", "key", "value")}
    return own | {"attention.output.dense": attended, "intermediate.dense": after, "output.dense": neurons}


def test_inputs_weigh_columns_by_what_they_are_multiplied_with(tmp_path: Path) -> None:
    model, weights = found(tmp_path, "inputs")
    assert len(weights) == 13
    for layer in (0, 1):
        for name, states in inputs_of(model, layer).items():
            rows, columns = weights[f"bert.encoder.layer.{layer}.{name}"]
            expected = root(states.square().sum(0).numpy())
            np.testing.assert_allclose(columns, expected, rtol=1e-4, err_msg=name)
            assert (rows == 1).all()
    rows, columns = weights[TABLE]
    uses = np.array([np.count_nonzero(ROWS.pieces == piece) for piece in range(len(rows))])
    np.testing.assert_allclose(rows, root(uses), rtol=1e-6)
    assert (columns == 1).all()


def test_gradients_weigh_rows_by_their_squares_summed_over_batches(tmp_path: Path) -> None:
    model, weights = found(tmp_path, "gradients")
    squares = {path: np.zeros(len(rows)) for path, (rows, _) in weights.items()}
    for batch in BATCHES:
        model.zero_grad()
        model(**batch.inputs, labels=batch.labels).loss.backward()
        for path, total in squares.items():
            gradient = model.get_parameter(f"{path}.weight").grad
            assert gradient is not None
            total += gradient.square().sum(1).numpy()
    for path, (rows, columns) in weights.items():
        np.testing.assert_allclose(rows, root(squares[path]), rtol=1e-4, err_msg=path)
        assert (columns == 1).all()


def test_without_weighting_all_count_the_same(tmp_path: Path) -> None:
    _, weights = found(tmp_path, "none")
    assert all((part == 1).all() for pair in weights.values() for part in pair)


def matrix(rows: int, columns: int, energy: list[float]) -> Factorised:
    return Factorised(
        torch.zeros(rows, len(energy)), torch.zeros(len(energy), columns), torch.tensor(energy), None
    )


def test_one_budget_is_spent_where_a_parameter_brings_most() -> None:
    """180 of 500 parameters: 80 for one component each, then the third's second (1.88 for each parameter), the first's
    second (1.5) and third (1.25), and, as the third's third (1.13) is too dear by then, the second's second (0.5)."""
    matrices = {
        "first": matrix(10, 10, [0.4, 0.3, 0.25, 0.05]),
        "second": matrix(10, 10, [0.9, 0.1, 0.0, 0.0]),
        "third": matrix(10, 30, [0.5, 0.25, 0.15, 0.1]),
    }
    assert ranks_within(matrices, 0.36) == {"first": 3, "second": 2, "third": 2}


@pytest.mark.parametrize("weighting", ["inputs", "gradients"])
def test_a_model_is_left_with_the_best_factors_of_the_budget(tmp_path: Path, weighting: Weighting) -> None:
    _, weights = found(tmp_path, weighting)
    model = load(tmp_path, 2, seed=6)
    before = {path: model.get_parameter(f"{path}.weight").detach().double().numpy() for path in weights}
    params = LowRankParams(keep_share=0.6, weighting=weighting, rows=40, recovery=None)
    run(model, data_of(ROWS), params, context_of(tmp_path))
    left, ranks = 0, []
    for path, weight in before.items():
        module = model.get_submodule(path)
        left += sum(parameter.numel() for name, parameter in module.named_parameters() if "bias" not in name)
        if hasattr(module, "rank"):
            down, up = (module.get_parameter(f"{part}.weight").detach().numpy() for part in ("down", "up"))
            ranks.append(rank := down.shape[1] if path == TABLE else len(down))
            rows, columns = weights[path]
            u, s, v = np.linalg.svd(weight * rows[:, None] * columns, full_matrices=False)
            expected = (u[:, :rank] * s[:rank]) @ v[:rank] / rows[:, None] / columns
            np.testing.assert_allclose(down @ up.T if path == TABLE else up @ down, expected, atol=1e-4)
    budget = 0.6 * sum(weight.size for weight in before.values())
    assert budget - (16 + 32) < left <= budget
    assert len(set(ranks)) > 2
