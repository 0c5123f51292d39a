"""The hybrid reaches its ratio."""

from pathlib import Path

import pytest

from compression.checkpoints.plankwright_model import load
from compression.methods.ladabert.params import LadaBertParams
from tests.compression.jobs import TRAINING, make_spec, run_to_end


def test_both_parts_make_the_ratio() -> None:
    params = LadaBertParams(ratio=10, low_rank_part=0.3)
    assert params.factorisation.keep_share * (1 - params.pruning.sparsity) == pytest.approx(0.1)


def test_few_weights_of_the_matrices_are_left(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "ladabert", "ratio": 4, "training": TRAINING}])
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
