"""What each step of Theseus trains and compares, what a probe keeps, and what the presets say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from compression.architectures import states_of
from compression.data.batches import collate
from compression.methods.layer_choice import LayerChoice, chosen_layers
from compression.methods.theseus.method import run, wrap
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.training.loop import train
from tests.compression.bare import BATCH, CPU, TWO_ROWS, context_of, data_of, load
from tests.compression.encoded import classification, of_rows

LENGTHS = TWO_ROWS.lengths.tolist()


def begun(
    folder: Path, kind: type[TheseusObjective], choice: LayerChoice, **settings: Any
) -> TheseusObjective:
    model, params = load(folder, 4, seed=6), TheseusParams.model_validate({"successor_layers": 2, **settings})
    return kind(model, wrap(model, choice, params, torch.float32), params, context_of(folder))


@pytest.mark.parametrize(
    ("preset", "clip_norm", "learning_rate", "modules", "layers", "head", "share"),
    [
        ("fast", 0.3, 1e-4, [2, 2, 2], [1, 3, 5], "frozen", None),
        ("distilled", 1.0, 2e-4, [1, 2, 3], [0, 1, 3], "trained", 0.5),
        ("paper", 1.0, 2e-5, [2, 2, 2], [0, 1, 2], "frozen", None),
    ],
)
def test_what_the_presets_say(
    preset: Any,
    clip_norm: float,
    learning_rate: float,
    modules: list[int],
    layers: list[int],
    head: str,
    share: float | None,
) -> None:
    params = TheseusParams(preset=preset)
    assert (params.training.clip_norm, params.training.learning_rate) == (clip_norm, learning_rate)
    assert (params.partition(6), params.head) == (modules, head)
    assert params.initialization != "probe"
    assert chosen_layers(params.initialization, modules) == layers
    assert (params.distillation and params.distillation.weight) == share


class Watched(TheseusObjective):
    """Remembers what the parts are before each step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[dict[str, torch.Tensor]] = []

    def prepare(self, step: int, fraction: float) -> bool:
        self.remember()
        return super().prepare(step, fraction)

    def remember(self) -> None:
        names = {"head": "classifier.weight", "table": "bert.embeddings.word_embeddings.weight"}
        parts = {part: self.model.get_parameter(name) for part, name in names.items()}
        parts["successor"] = self.modules[0].successor.get_parameter("output.dense.bias")
        self.seen.append({part: value.detach().clone() for part, value in parts.items()})

    def moves(self, part: str) -> list[float]:
        """By how much each step has moved the weight that it moved most."""
        pairs = zip(self.seen[:-1], self.seen[1:], strict=True)
        return [float((after[part] - before[part]).abs().max()) for before, after in pairs]


@pytest.mark.parametrize("head", ["frozen", "at_end", "trained"])
def test_the_head_joins_when_it_shall(tmp_path: Path, head: str) -> None:
    """Adam's first step is the learning rate, here 0.01 less a quarter for each step; at the end a fifth of it."""
    schedule = {"type": "constant", "rate": 0.999, "full_at": 0.5}
    training = {"batch_size": 2, "epochs": 4, "learning_rate": 0.01}
    objective = begun(tmp_path, Watched, "module_last", head=head, schedule=schedule, training=training)
    assert isinstance(objective, Watched)
    train(objective, data_of(TWO_ROWS), objective.params.training, context_of(tmp_path))
    objective.remember()
    assert objective.moves("table") == [0, 0, 0, 0]
    assert objective.moves("successor")[0] == pytest.approx(0.01, rel=1e-3)
    moves = objective.moves("head")
    match head:
        case "frozen":
            assert moves == [0, 0, 0, 0]
        case "at_end":
            assert moves[:2] == [0, 0]
            assert moves[2] == pytest.approx(0.005 / 5, rel=1e-3)
            assert moves[3] > 0
        case _:
            assert moves[0] == pytest.approx(0.01, rel=1e-3)
            assert min(moves) > 0


def through(layers: Any, states: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        states = states_of(layer(states))
    return states


@torch.no_grad()
def test_with_gates_for_each_row_the_border_is_that_of_the_rows_replaced(tmp_path: Path) -> None:
    """The first row through the first module's successor, the second through the second's; no place that is padded."""
    objective = begun(tmp_path, TheseusObjective, "module_first", gates="example", border_weight=3.0)
    objective.row_draws = torch.tensor([[True, False], [False, True]])
    found = objective.loss(BATCH)

    first, second = objective.modules
    model = objective.model
    embeddings: Any = model.get_submodule("bert.embeddings")
    ids = BATCH.input_ids
    short, long = (embeddings(ids[row : row + 1, :n]) for row, n in enumerate(LENGTHS))
    replaced = through([first.successor], short)
    terms = [(replaced - through(first.predecessor, short)).square().mean()]
    short = through(second.predecessor, replaced)
    kept = through(first.predecessor, long)
    long = through([second.successor], kept)
    terms.append((long - through(second.predecessor, kept)).square().mean())

    head = nn.Sequential(
        model.get_submodule("bert.pooler.dense"), nn.Tanh(), model.get_submodule("classifier")
    )
    logits = torch.cat([head(states[:, 0]) for states in (short, long)])
    expected = functional.cross_entropy(logits, BATCH.labels) + 3 * torch.stack(terms).mean()
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def loss_of_layers(model: PreTrainedModel, layers: list[int], rows: Any) -> float:
    elements = model.get_submodule("bert.encoder.layer")
    assert isinstance(elements, nn.ModuleList)
    model.set_submodule("bert.encoder.layer", nn.ModuleList([elements[i] for i in layers]))
    batch = collate(rows, np.arange(len(rows)), CPU)
    return float(model(**batch.inputs, labels=batch.labels).loss)


@pytest.mark.parametrize("seed", [6, 7])
def test_a_probe_keeps_what_has_the_lowest_loss_on_the_validation_rows(tmp_path: Path, seed: int) -> None:
    rows = of_rows(classification(), np.array([0, 1, 1, 0, 1]))
    training: Any = {"batch_size": 2, "epochs": 2, "learning_rate": 1e-12}
    params = TheseusParams(successor_layers=2, initialization="probe", probe_steps=2, training=training)
    choices: tuple[LayerChoice, ...] = ("first_layers", "module_first", "module_last", "spread")
    sources = {choice: chosen_layers(choice, [2, 2]) for choice in choices}
    losses = {c: loss_of_layers(load(tmp_path, 4, seed), layers, rows) for c, layers in sources.items()}
    best = min(choices, key=lambda choice: losses[choice])
    model, context = load(tmp_path, 4, seed), context_of(tmp_path)
    before = model.state_dict()
    made = run(model, data_of(TWO_ROWS, rows), params, context).state_dict()
    assert context.decisions["initialization"] == best, losses
    for place, source in enumerate(sources[best]):
        name = "bert.encoder.layer.{}.output.dense.weight"
        torch.testing.assert_close(made[name.format(place)], before[name.format(source)])
