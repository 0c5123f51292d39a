"""The hybrid reaches its ratio."""

from pathlib import Path

import pytest
import torch

from compression.checkpoints.plankwright_model import load
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.low_rank.factors import balanced
from tests.compression.jobs import TRAINING, make_spec, run_to_end


def test_both_parts_make_the_ratio() -> None:
    params = LadaBertParams(ratio=10, low_rank_part=0.3)
    assert params.factorisation.keep_share * (1 - params.pruning.sparsity) == pytest.approx(0.1)


@pytest.mark.parametrize("rounds", [1, 3])
def test_few_weights_of_the_matrices_are_left(tmp_path: Path, rounds: int) -> None:
    spec = make_spec(tmp_path, [{"method": "ladabert", "ratio": 4, "rounds": rounds, "training": TRAINING}])
    report = run_to_end(spec, tmp_path / "out")
    whole = 180 * 16 + 4 * (4 * 16 * 16 + 2 * 16 * 32)
    weights = load(tmp_path / "out" / "model").state_dict()
    left = sum(
        int(tensor.count_nonzero())
        for name, tensor in weights.items()
        if tensor.ndim == 2 and ("layer." in name or "word_embeddings" in name)
    )
    assert left == pytest.approx(whole / 4, rel=0.05)
    assert report.curves["sparsity"][-1].value == 0.5


def test_ranks_come_down_to_their_own() -> None:
    params = LadaBertParams(ratio=16, rounds=4)
    assert [params.rank(8, 16, number) for number in range(1, 5)] == [16, 16, 11, 8]
    assert LadaBertParams(ratio=16).rank(8, 16, 1) == 8


def test_factors_are_balanced_in_the_weighted_norm() -> None:
    draw = torch.Generator().manual_seed(0)
    left, right = torch.randn(9, 4, generator=draw), torch.randn(4, 6, generator=draw)
    rows, columns = torch.rand(9, generator=draw) + 0.5, torch.rand(6, generator=draw) + 0.5
    ours, theirs = balanced(left, right, rows, columns)
    torch.testing.assert_close(ours @ theirs, left @ right, atol=1e-5, rtol=0)
    values = torch.linalg.svdvals((left @ right) * rows[:, None] * columns)[:4]
    torch.testing.assert_close((ours * rows[:, None]).norm(dim=0).square(), values, atol=1e-4, rtol=0)
