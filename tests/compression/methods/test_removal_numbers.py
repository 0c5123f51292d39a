"""What is taken out of a model step by step and round by round, beside what numpy takes out of the same numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compression.architectures import anatomy_of
from compression.checkpoints.plankwright_model import LowRankEmbedding
from compression.checkpoints.word_pieces import Vocabulary
from compression.data.batches import collate, epoch_batches
from compression.data.encoding import Array
from compression.methods.ladabert.method import run as ladabert
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.ladabert.rounds import RoundsObjective
from compression.methods.narrow.importance import best_neurons, importance_of
from compression.methods.narrow.units import Layer
from compression.methods.prune.method import PruneObjective
from compression.methods.prune.params import PruneParams
from compression.methods.share.embeddings import shortened
from compression.methods.trim_vocabulary.method import run as trim_vocabulary
from compression.methods.trim_vocabulary.params import TrimVocabularyParams
from compression.training.loop import train
from compression.training.precision import MixedPrecision
from tests.compression.bare import CPU, TWO_ROWS, context_of, data_of, load
from tests.compression.encoded import classification, of_rows

FORTY = of_rows(classification(), np.arange(40) % 2, [5, 3] * 20)


def training(learning_rate: float, steps: int = 10) -> Any:
    return {"batch_size": 2, "epochs": steps, "learning_rate": learning_rate}


class Pruning(PruneObjective):
    """Remembers which weights are zero before each step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.zeros: list[list[Array]] = []

    def prepare(self, step: int, fraction: float) -> bool:
        self.remember()
        return super().prepare(step, fraction)

    def remember(self) -> None:
        self.zeros.append([matrix.detach().numpy() == 0 for matrix in self.matrices])


@pytest.mark.parametrize("learning_rate", [1e-12, 0.01])
def test_zeros_come_by_the_cubic_schedule_and_stay(tmp_path: Path, learning_rate: float) -> None:
    model, context = load(tmp_path, 1, seed=6), context_of(tmp_path)
    before = [matrix.detach().clone().numpy() for matrix in anatomy_of(model).weights_of(model)]
    params = PruneParams(sparsity=0.8, full_at=0.5, training=training(learning_rate))
    objective = Pruning(model, anatomy_of(model).weights_of(model), params, 10, None)
    train(objective, data_of(TWO_ROWS), params.training, context)
    objective.remember()

    wanted = [0.8 * (1 - (1 - min(step, 5) / 5) ** 3) for step in range(10)]
    assert [share for _, share in context.curves["sparsity"]] == pytest.approx(wanted)
    assert len(before) == 7
    for number, matrix in enumerate(before):
        counts = [int(zeros[number].sum()) for zeros in objective.zeros]
        least = counts[0]  # the row of what pads is zero from the start
        assert counts[1:] == [max(least, int(share * matrix.size)) for share in wanted]
        for earlier, later in zip(objective.zeros[:-1], objective.zeros[1:], strict=True):
            assert (later[number] | ~earlier[number]).all()
        if learning_rate < 1e-6:
            largest_gone = np.sort(np.abs(matrix), axis=None)[int(0.8 * matrix.size) - 1]
            assert (objective.zeros[-1][number] == (np.abs(matrix) <= largest_gone)).all()


def product_and_factors(module: Any, weights: MixedPrecision) -> tuple[Array, tuple[Array, Array]]:
    """W = L R, and the sizes of what is in L and R."""
    down, up = (weights.exact(part.weight).detach().clone().numpy() for part in (module.down, module.up))
    left, right = (down, up.T) if isinstance(module, LowRankEmbedding) else (up, down)
    return left @ right, (np.abs(left), np.abs(right))


def without_smallest(sizes: Array, share: float) -> Array:
    gone = np.sort(sizes, axis=None)[: int(share * sizes.size)]
    return np.where(sizes <= gone[-1], 0, sizes)


def test_each_round_begins_with_an_svd_of_what_training_has_made_of_the_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks: dict[str, list[int]] = {}

    class Rounds(RoundsObjective):
        def _begin_round(self, path: str, weights: MixedPrecision) -> None:
            module = self.model.get_submodule(path)
            before, _ = product_and_factors(module, weights)
            super()._begin_round(path, weights)
            rows, columns = (scale.numpy().astype(np.float64) for scale in self.factors.scales[path])
            left, values, right = np.linalg.svd(before * rows[:, None] * columns, full_matrices=False)
            final, full = self.factors.ranks[path], min(before.shape)
            rank = min(full, round(final * self.rounds.factorisation.keep_share ** (self.round / 3 - 1)))
            ranks.setdefault(path, []).append(rank)
            expected = (
                np.abs(left * np.sqrt(values))[:, :rank] / rows[:, None],
                np.abs(np.sqrt(values)[:, None] * right)[:rank] / columns,
            )
            _, (new_left, new_right) = product_and_factors(module, weights)
            assert not new_left[:, rank:].any()
            assert not new_right[rank:].any()
            for found, whole in zip((new_left[:, :rank], new_right[:rank]), expected, strict=True):
                np.testing.assert_allclose(found, without_smallest(whole, self.sparsity), atol=1e-4)

    monkeypatch.setattr("compression.methods.ladabert.method.RoundsObjective", Rounds)
    model = load(tmp_path, 2, seed=6, hidden=32)
    params = LadaBertParams(ratio=6, rounds=3, training=training(0.01))
    ladabert(model, data_of(TWO_ROWS), params, context_of(tmp_path))
    assert len(ranks) > 8
    assert all(len(of_path) == 2 and of_path[0] > of_path[1] for of_path in ranks.values())


@pytest.mark.parametrize("ratio", [7.5, 10])
@pytest.mark.parametrize("rounds", [1, 3])
def test_a_large_ratio_is_reached(tmp_path: Path, ratio: float, rounds: int) -> None:
    model = load(tmp_path, 2, seed=6, hidden=48)
    whole = sum(matrix.numel() for matrix in anatomy_of(model).weights_of(model))
    params = LadaBertParams(ratio=ratio, rounds=rounds, training=training(0.01))
    made = ladabert(model, data_of(TWO_ROWS), params, context_of(tmp_path))
    left = sum(int(matrix.count_nonzero()) for matrix in anatomy_of(made).weights_of(made))
    assert whole / left == pytest.approx(ratio, rel=0.02)


def test_neurons_are_judged_by_their_weights_times_the_gradients_of_these(tmp_path: Path) -> None:
    model, context = load(tmp_path, 2, seed=6), context_of(tmp_path)
    anatomy = anatomy_of(model)
    layers = [Layer(layer, anatomy) for layer in anatomy.layers_of(model)]
    found = best_neurons(importance_of(model, layers, data_of(FORTY), 40, context, 3).neurons, 12)
    importance = np.zeros((2, 32))
    for rows in epoch_batches(FORTY, 32, 0, 3):
        batch = collate(FORTY, rows, CPU)
        model.zero_grad()
        model(**batch.inputs, labels=batch.labels).loss.backward()
        for layer in range(2):
            into, out_of = (f"bert.encoder.layer.{layer}.{name}.dense" for name in ("intermediate", "output"))
            products = []
            for name in (f"{into}.weight", f"{into}.bias", f"{out_of}.weight"):
                parameter = model.get_parameter(name)
                assert parameter.grad is not None
                products.append((parameter.detach() * parameter.grad).numpy())
            importance[layer] += np.abs(products[0].sum(1) + products[1]) + np.abs(products[2].sum(0))
    assert found == [sorted(np.argsort(-neurons)[:12].tolist()) for neurons in importance]


def test_short_vectors_keep_what_the_rows_show_most(tmp_path: Path) -> None:
    """The map back gives the tables' projections on the directions that the rows' vectors vary in most."""
    model = load(tmp_path, 2, seed=6)
    vectors = shortened(model, FORTY, 8)
    tables = [
        model.get_parameter(f"bert.embeddings.{name}_embeddings.weight").detach().numpy().astype(np.float64)
        for name in ("word", "position", "token_type")
    ]
    tables = [table - table.mean(1, keepdims=True) for table in tables]
    shown = FORTY.pieces, np.concatenate([np.arange(n) for n in FORTY.lengths]), np.zeros_like(FORTY.pieces)
    second = np.zeros((16, 16))
    for table, pieces in zip(tables, shown, strict=True):
        uses = np.array([np.count_nonzero(pieces == row) for row in range(len(table))], dtype=np.float64)
        uses = np.maximum(uses, uses.mean() / 1000)
        second += sum(n * np.outer(row, row) for n, row in zip(uses, table, strict=True))
    kept = np.linalg.eigh(second)[1][:, -7:]
    gain = model.get_parameter("bert.embeddings.LayerNorm.weight").detach().numpy()
    back = (vectors.mapping[0].numpy() / gain[:, None]).T
    for table, short in zip(tables, (vectors.words, vectors.positions, vectors.types), strict=True):
        np.testing.assert_allclose(short.numpy() @ back, table @ kept @ kept.T, atol=1e-5)


def test_the_pieces_that_are_used_most_stay(tmp_path: Path) -> None:
    model, context = load(tmp_path, 1, seed=6), context_of(tmp_path)
    numbers = context.source.tokenizer.get_vocab()
    uses = {"sad": 5, "movie": 4, "cat": 3, "happy": 2, "dog": 1}
    pieces = np.repeat([numbers[word] for word in uses], list(uses.values())).astype(np.int32)
    rows = replace(of_rows(classification(), np.array([0, 1, 0]), [5, 5, 5]), pieces=pieces)
    required = Vocabulary(json.loads(context.tokenizer_json())).required(0, all_before_padding=False)
    table = model.get_parameter("bert.embeddings.word_embeddings.weight").detach().clone()
    params = TrimVocabularyParams(keep_share=(len(required) + 3) / len(table))
    made = trim_vocabulary(model, data_of(rows), params, context)
    kept = {"sad", "movie", "cat"} | required
    assert json.loads(context.tokenizer_json())["model"]["vocab"].keys() == kept
    stays = table[sorted(numbers[piece] for piece in kept)]
    assert torch.equal(made.get_parameter("bert.embeddings.word_embeddings.weight"), stays)
