"""Factors and ranks, and what becomes of factorised models."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.plankwright_model import LowRankEmbedding, LowRankLinear
from compression.data.batches import collate
from compression.errors import InputError
from compression.methods.low_rank.factors import Factorised, factorise, put_factors, ranks_within
from compression.methods.low_rank.weighting import _input_sizes
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.checkpoints.changes import config
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import METHOD_SETTINGS, TRAINING, make_spec, run_to_end


def factorised(module: nn.Module) -> Factorised:
    assert isinstance(module, (nn.Linear, nn.Embedding))
    rows, columns = module.weight.shape
    return factorise(module, torch.rand(rows) + 0.5, torch.rand(columns) + 0.5)


def test_all_components_together_are_the_weight() -> None:
    linear, table = nn.Linear(6, 4), nn.Embedding(9, 5)
    thin, short = LowRankLinear(6, 4, 4, bias=True), LowRankEmbedding(9, 5, 5, None)
    put_factors(thin, factorised(linear), 4)
    put_factors(short, factorised(table), 5)
    states, ids = torch.randn(3, 6), torch.arange(9)
    torch.testing.assert_close(thin(states), linear(states), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(short(ids), table(ids), atol=1e-5, rtol=1e-4)


def test_the_weighted_error_is_the_least() -> None:
    """Columns that are multiplied with large inputs are kept better than by the plain SVD."""
    linear, sizes = nn.Linear(8, 8, bias=False), torch.tensor([10.0, 10, 1, 1, 1, 1, 1, 1])
    inputs = torch.randn(2000, 8) * sizes
    errors = []
    for columns in (torch.ones(8), sizes):
        thin = LowRankLinear(8, 8, 2, bias=False)
        put_factors(thin, factorise(linear, torch.ones(8), columns), 2)
        errors.append(float((thin(inputs) - linear(inputs)).detach().square().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_ranks_keep_the_budget_and_go_where_the_energy_is() -> None:
    narrow = nn.Linear(20, 20, bias=False)  # all its energy in two components
    narrow.weight.data = torch.randn(20, 2) @ torch.randn(2, 20)
    matrices = {"narrow": factorised(narrow), "broad": factorised(nn.Linear(20, 20, bias=False))}
    ranks = ranks_within(matrices, 0.5)
    assert ranks["narrow"] < 4 < ranks["broad"]
    assert sum(rank * 40 for rank in ranks.values()) <= 400
    assert ranks_within(matrices, 0.99).keys() == {"narrow"}  # the other is no larger whole


def test_padding_is_no_input(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "source", layers=1))
    model: Any = load_model(source.folder, source.facts, torch.device("cpu"))
    rows = of_rows(classification(), np.zeros(40, dtype=np.int64), [2 + row % 5 for row in range(40)])
    data: Any = SimpleNamespace(task=rows.task, train=rows)
    context: Any = SimpleNamespace(seed=1, device=model.device, stop_if_requested=lambda: None)
    path = "bert.encoder.layer.0.attention.self.query"
    found = _input_sizes(model, {path: model.get_submodule(path)}, data, 40, context)[path]
    expected = torch.zeros_like(found)
    for row in range(40):
        with torch.no_grad():
            states = model.bert.embeddings(collate(rows, np.array([row]), model.device).input_ids)
        expected += states[0].square().sum(dim=0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("weighting", ["none", "inputs", "gradients"])
def test_a_factorised_model_can_be_compressed_further(tmp_path: Path, weighting: str) -> None:
    steps = [
        {"method": "low_rank", "weighting": weighting, "keep_share": 0.6, "rows": 16, "recovery": None},
        {"method": "trim_vocabulary", "keep_share": 0.985},
        {"method": "theseus", "successor_layers": 2, "training": TRAINING | {"max_steps": 2}},
    ]
    report = run_to_end(make_spec(tmp_path, steps), tmp_path / "out")
    facts = inspect_checkpoint(tmp_path / "out" / "model")
    assert (facts.low_rank, facts.layers, facts.vocabulary_size) == (True, 2, 177)
    assert not report.after.plain
    assert "plankwright_model.py" in (tmp_path / "out" / "artifacts" / "README.md").read_text()

    (tmp_path / "again").mkdir()
    again = make_spec(tmp_path / "again", [{"method": "layer_drop", "keep_layers": 1, "recovery": None}])
    run_to_end(again.model_copy(update={"model": tmp_path / "out" / "model"}), tmp_path / "again" / "out")
    assert inspect_checkpoint(tmp_path / "again" / "out" / "model").layers == 1


@pytest.mark.parametrize("second", ["narrow", "low_rank"])
def test_what_needs_whole_matrices_is_refused(tmp_path: Path, second: str) -> None:
    with pytest.raises(InputError) as refused:
        make_spec(tmp_path, [{"method": "low_rank", "recovery": None}, {"method": second}])
    assert refused.value.code == "already_factorised"


def test_a_form_that_does_not_fit_the_weights_is_refused(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "low_rank", "rows": 16, "recovery": None}])
    run_to_end(spec, tmp_path / "out")
    folder = tmp_path / "out" / "model"
    untouched = (folder / "config.json").read_text()
    for form, code in (
        ({"low_rank": {"classifier": 2}}, "invalid_config_value"),
        ({"low_rank": {"bert.encoder.layer.0.attention.self.query": 3}}, "missing_weights"),
        (None, "form_differs"),
    ):
        (folder / "config.json").write_text(untouched)
        config(plankwright=form)(folder)
        with pytest.raises(InputError) as refused:
            inspect_checkpoint(folder)
        assert refused.value.code == code


@pytest.mark.parametrize(
    "step",
    [
        {"method": "tinybert"},
        {"method": "distill", "attention_weight": 1.0},
        {"method": "narrow"},
        {"method": "low_rank"},
    ],
    ids=lambda step: step["method"],
)
def test_what_needs_whole_weights_is_refused_after_it(tmp_path: Path, step: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="factorised"):
        make_spec(tmp_path, [{"method": "low_rank", **METHOD_SETTINGS["low_rank"]}, step])
