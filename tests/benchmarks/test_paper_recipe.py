"""The reference must be what it says: the plain models where the coin is forced, else the official code."""

import json
from copy import deepcopy
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BertForSequenceClassification

from benchmarks import paper_recipe
from benchmarks.paper_recipe import Padding, TheseusEncoder, encode, inputs, load, loyalty, predict, train
from tests.checkpoints import make_tiny_checkpoint

LABELS = {"negative": 0, "positive": 1}
TEXTS = [
    "the movie was good",
    "the plot is awful and the actor bad",
    "great story",
    "a boring film not great",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("model"), layers=4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.tsv"
    lines = [f"{TEXTS[i % 4]} {'very ' * (i % 5)}\t{'negative' if i % 2 else 'positive'}" for i in range(24)]
    file.write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return file


def theseus(model: Path, rate: float) -> BertForSequenceClassification:
    loaded = without_dropout(load(model))
    loaded.bert.encoder = TheseusEncoder(loaded.bert.encoder.layer, 2, rate)  # type: ignore[assignment]
    return loaded


def without_dropout(model: BertForSequenceClassification) -> BertForSequenceClassification:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def truncated(model: Path) -> BertForSequenceClassification:
    plain = without_dropout(load(model))
    plain.bert.encoder.layer = plain.bert.encoder.layer[:2]
    return plain


def encoded(rows: Path, model: Path) -> torch.utils.data.TensorDataset:
    return encode(rows, AutoTokenizer.from_pretrained(model), LABELS, 32)


def settings(**changed: float) -> dict[str, float | Padding]:
    return {
        "steps": 6,
        "full_at": 0.5,
        "learning_rate": 1e-2,
        "batch_size": 8,
        "padding": Padding.MAX,
        "seed": 1,
        **changed,
    }


def test_all_coins_heads_is_the_truncated_model_through_training(model: Path, rows: Path) -> None:
    compressed, plain = theseus(model, rate=1.0), truncated(model)
    data = encoded(rows, model)
    train(compressed, data, **settings(steps=3))  # type: ignore[arg-type]
    # The plain loop, with the head and the embeddings left out of the optimizer but not out of the clip.
    torch.manual_seed(1)
    layers = plain.bert.encoder.layer
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2, eps=1e-8, weight_decay=0.0)
    plain.train()
    for step, batch in enumerate(torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 3)
        plain(**inputs(batch, Padding.MAX)).loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        plain.zero_grad(set_to_none=False)
    successor = cast(nn.Module, compressed.bert.encoder.scc_layer).state_dict()
    assert successor.keys() == layers.state_dict().keys()
    for name, tensor in layers.state_dict().items():
        torch.testing.assert_close(successor[name], tensor)
    assert not torch.equal(tensor, truncated(model).bert.encoder.layer.state_dict()[name])


def test_all_coins_tails_is_the_predecessor(model: Path, rows: Path) -> None:
    compressed, plain = theseus(model, rate=0.0), without_dropout(load(model))
    batch = inputs(list(encoded(rows, model).tensors), Padding.MAX)
    compressed.train()
    torch.testing.assert_close(compressed(**batch).loss, plain(**batch).loss)


def test_evaluation_runs_the_successor_alone(model: Path, rows: Path) -> None:
    data = encoded(rows, model)
    torch.testing.assert_close(
        predict(theseus(model, rate=0.0), data, Padding.MAX), predict(truncated(model), data, Padding.MAX)
    )


def test_only_the_successor_is_trained(model: Path, rows: Path) -> None:
    compressed = theseus(model, rate=0.3)
    before = deepcopy(compressed.state_dict())
    train(compressed, encoded(rows, model), **settings())  # type: ignore[arg-type]
    moved = {
        name for name, tensor in compressed.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert moved
    assert all("scc_layer" in name for name in moved)
    # Even so a gradient is computed for the frozen rest, and zeroed, not dropped.
    table = compressed.bert.embeddings.word_embeddings.weight
    assert table.requires_grad
    assert table.grad is not None
    assert not table.grad.any()


def test_the_rate_rises_after_each_step_from_the_base_to_one(model: Path, rows: Path) -> None:
    seen: list[float] = []

    class Watched(TheseusEncoder):
        def chosen_layers(self) -> list[nn.Module]:
            seen.append(self.rate)
            return super().chosen_layers()

    compressed = load(model)
    compressed.bert.encoder = Watched(compressed.bert.encoder.layer, 2, 0.3)  # type: ignore[assignment]
    train(compressed, encoded(rows, model), **settings(steps=8))  # type: ignore[arg-type]
    assert seen == pytest.approx([0.3, 0.475, 0.65, 0.825, 1, 1, 1, 1])


def test_dynamic_padding_changes_the_lengths_and_not_the_result(model: Path, rows: Path) -> None:
    data, plain = encoded(rows, model), load(model)
    assert inputs(list(data.tensors), Padding.MAX)["input_ids"].shape[1] == 32
    assert inputs(list(data.tensors), Padding.LONGEST)["input_ids"].shape[1] < 32
    torch.testing.assert_close(predict(plain, data, Padding.LONGEST), predict(plain, data, Padding.MAX))


def test_loyalty_is_one_minus_the_distance_in_base_two() -> None:
    before, after = torch.tensor([[0.75, 0.2, 0.05]]), torch.tensor([[0.8, 0.1, 0.1]])
    assert loyalty(before, after) == pytest.approx(
        {"label_loyalty": 1.0, "probability_loyalty": 1 - 0.1377}, abs=1e-4
    )
    opposite = loyalty(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert opposite == {"label_loyalty": 0.0, "probability_loyalty": 0.0}


def test_the_command_prints_what_it_took(model: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper_recipe.main(model, rows, rows, steps=5, successor_layers=2, batch_size=16, length=32, threads=1)
    printed = json.loads(capsys.readouterr().out)
    assert printed["steps"] == 5
    assert printed["examples"] == 16 + 8 + 16 + 8 + 16
    assert 0 <= printed["after"] <= 1
    assert printed["peak_rss_bytes"] > 2**20
    assert printed["wall_seconds"] > printed["training_wall_seconds"] > 0
