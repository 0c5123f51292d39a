"""The hybrid reaches its ratio."""

import io
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from compression.checkpoints.facts import Architecture, TaskType
from compression.checkpoints.plankwright_model import load
from compression.errors import Stopped
from compression.events import EventWriter
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.low_rank.factors import balanced
from compression.run import run
from compression.training.checkpoint import read_checkpoint
from tests.compression.jobs import TRAINING, make_spec, run_to_end


def test_both_parts_make_the_ratio() -> None:
    params = LadaBertParams(ratio=10, low_rank_part=0.3)
    kept = params.factorisation.keep_share
    assert kept * (1 - params.pruning(1000, round(1000 * kept)).sparsity) == pytest.approx(0.1, rel=1e-3)
    assert params.pruning(1000, 90).sparsity == 0  # factors alone are few enough


@pytest.mark.parametrize(
    ("task", "architecture", "rounds"),
    [
        ("text-classification", "bert", 1),
        ("text-classification", "bert", 3),
        ("fill-mask", "bert", 1),  # the table stays whole in these two
        ("text-generation", "gpt2", 2),
    ],
)
def test_few_weights_of_the_matrices_are_left(
    tmp_path: Path, task: TaskType, architecture: Architecture, rounds: int
) -> None:
    step = {"method": "ladabert", "ratio": 4, "rounds": rounds, "training": TRAINING}
    spec = make_spec(tmp_path, [step], task=task, architecture=architecture)
    report = run_to_end(spec, tmp_path / "out")
    matrices = re.compile(r"(layer|h)\.\d|word_embeddings|wte")
    before, after = (
        sum(int(t.count_nonzero()) for n, t in weights.items() if t.ndim == 2 and matrices.search(n))
        for weights in (
            load_file(spec.model / "model.safetensors"),
            load(tmp_path / "out" / "model").state_dict(),
        )
    )
    assert after == pytest.approx(before / 4, rel=0.02)
    sparsity = report.curves["sparsity"][-1].value
    assert sparsity == pytest.approx(0.5, abs=0.02) if task == "text-classification" else sparsity > 0.55
    assert f"{sparsity:.1%} become zero" in report.notes[1]


def test_each_round_has_an_optimizer_of_its_own(tmp_path: Path) -> None:
    """What the one before knew of the factors is about columns that the SVD has turned."""
    step = {"method": "ladabert", "rounds": 3, "training": TRAINING}
    events = io.StringIO()
    with pytest.raises(Stopped):  # after the fourth of twelve steps, with which the first round ends
        run(
            make_spec(tmp_path, [step]),
            tmp_path / "out",
            EventWriter(events),
            lambda: events.getvalue().count('"learning_rate"') == 4,
        )
    checkpoint = read_checkpoint(max((tmp_path / "out" / "checkpoints").glob("*.safetensors")))
    state = checkpoint.section("weights")
    assert checkpoint.step == 4
    assert not any(state[name].any() for name in ("first", "second", "moves"))


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
