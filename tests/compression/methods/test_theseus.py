"""Module replacing itself, on tiny random models without dropout."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context
from compression.data.batches import Batch
from compression.events import EventWriter
from compression.methods.layer_choice import LayerChoice
from compression.methods.theseus.method import teacher_at_borders, wrap
from compression.methods.theseus.modules import ReplaceableModule
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.tasks.text_classification.behaviour import TextClassification
from compression.training.states import Teacher
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification

CPU = torch.device("cpu")
ROWS = {
    "input_ids": torch.tensor([[2, 9, 11, 3, 0], [2, 8, 10, 12, 3]]),
    "attention_mask": torch.tensor([[1] * 4 + [0], [1] * 5]),
}


def load(folder: Path, architecture: Architecture = "bert") -> PreTrainedModel:
    source = open_source(make_tiny_checkpoint(folder, architecture, layers=4))
    model = load_model(source.folder, source.facts, CPU)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(**ROWS).logits
    return result


def wrapped(
    model: PreTrainedModel, choice: LayerChoice = "module_last", **settings: Any
) -> list[ReplaceableModule]:
    return wrap(model, choice, TheseusParams.model_validate(settings), torch.float32)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_without_replacing_the_predecessor_speaks_and_in_evaluation_the_successor(
    tmp_path: Path, architecture: Architecture
) -> None:
    model = load(tmp_path / "m", architecture)
    before = logits(model)
    anatomy, layers = anatomy_of(model), list(anatomy_of(model).layers_of(model))
    modules = wrapped(model, "module_first", successor_layers=2)

    model.train()
    torch.testing.assert_close(logits(model), before)
    for module in modules:
        module.replaced = True
    replaced = logits(model)
    assert not torch.allclose(replaced, before)

    model.eval()
    torch.testing.assert_close(logits(model), replaced)
    anatomy.put_layers(model, [layers[0], layers[2]])
    torch.testing.assert_close(logits(model), replaced)


@pytest.mark.parametrize(
    ("choice", "sources"),
    [("first_layers", [0, 1]), ("module_first", [0, 2]), ("module_last", [1, 3]), ("spread", [0, 3])],
)
def test_successors_start_as_copies(tmp_path: Path, choice: LayerChoice, sources: list[int]) -> None:
    model = load(tmp_path / "m")
    layers = list(anatomy_of(model).layers_of(model))
    modules = wrapped(model, choice, successor_layers=2)
    for module, source in zip(modules, sources, strict=True):
        for ours, theirs in zip(module.successor.parameters(), layers[source].parameters(), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.data_ptr() != theirs.data_ptr()


def objective(
    tmp_path: Path,
    model: PreTrainedModel,
    modules: list[ReplaceableModule],
    teacher: Teacher | None = None,
    **settings: Any,
) -> TheseusObjective:
    context = Context(
        source=open_source(tmp_path / "m"), device=CPU, dtype=torch.float32, seed=7, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=1,
    )  # fmt: skip
    params = TheseusParams.model_validate(settings)
    return TheseusObjective(model, modules, params, context, teacher=teacher)


def test_modules_are_drawn_at_the_replacing_rate_and_empty_draws_are_told(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, successor_layers=2)
    schedule = {"type": "constant", "rate": 0.3, "full_at": 1.0}
    theseus = objective(tmp_path, model, modules, successor_layers=2, schedule=schedule)
    drawn, empty = 0, 0
    for step in range(4000):
        trains = theseus.prepare(step, 0.0)
        drawn += sum(module.replaced is True for module in modules)
        empty += not trains
        assert trains == any(module.replaced is True for module in modules)
    assert drawn / 8000 == pytest.approx(0.3, abs=0.02)
    assert empty / 4000 == pytest.approx(0.7**2, abs=0.03)


def test_at_full_rate_every_module_is_replaced_and_the_predecessor_is_gone(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, successor_layers=2)
    assert objective(tmp_path, model, modules).prepare(0, 1.0)
    assert all(module.replaced and len(module.predecessor) == 0 for module in modules)


def test_drawn_for_each_row_each_row_takes_its_own_way(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, "module_first", successor_layers=2)
    model.train()
    ways = []
    for first, second in ((False, False), (True, False), (False, True), (True, True)):
        modules[0].replaced, modules[1].replaced = first, second
        ways.append(logits(model))
    modules[0].replaced = torch.tensor([True, False])
    modules[1].replaced = torch.tensor([False, True])
    torch.testing.assert_close(logits(model), torch.stack([ways[1][0], ways[2][1]]))
    modules[0].replaced = torch.tensor([True, True])
    torch.testing.assert_close(logits(model), torch.stack([ways[1][0], ways[3][1]]))


def batch_of_rows() -> Batch:
    return Batch(
        task=classification(),
        input_ids=ROWS["input_ids"],
        token_type_ids=None,
        attention_mask=ROWS["attention_mask"],
        labels=torch.tensor([0, 1]),
        rows=np.arange(2),
        outputs=np.arange(2),
    )


def test_the_border_term_is_the_difference_from_the_predecessor_for_the_same_input(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, "module_first", successor_layers=2)
    theseus = objective(tmp_path, model, modules, successor_layers=2, border_weight=3.0)
    batch, task = batch_of_rows(), classification()
    model.train()
    plain = TextClassification(task).loss(model(**batch.inputs).logits, batch)
    torch.testing.assert_close(theseus.loss(batch), plain)  # nothing is replaced: nothing to compare

    modules[1].replaced = True
    seen = []
    modules[1].successor.register_forward_hook(lambda _module, inputs, out: seen.append((inputs, out)))
    loss = theseus.loss(batch)
    (states, mask, *_), successor = seen[0]
    predecessor = states
    for layer in modules[1].predecessor:
        predecessor = layer(predecessor, mask)
    real = ROWS["attention_mask"].bool()
    expected = (successor - predecessor)[real].square().mean()
    plain = TextClassification(task).loss(model(**batch.inputs).logits, batch)
    torch.testing.assert_close(loss, plain + 3 * expected)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_the_hidden_term_is_the_difference_from_the_predecessor_by_itself(
    architecture: Architecture, tmp_path: Path
) -> None:
    model, batch = load(tmp_path / "m", architecture), batch_of_rows()
    params = TheseusParams(successor_layers=2, hidden_weight=3.0)
    layers = anatomy_of(model).layers_of(model)
    wanted = put_out_by([layers[1], layers[3]])
    model(**batch.inputs)
    teacher = teacher_at_borders(model, params, torch.float32)
    modules = wrapped(model, "module_first", successor_layers=2)
    theseus = objective(tmp_path, model, modules, teacher, successor_layers=2, hidden_weight=3.0)
    model.train()
    # Nothing is replaced, so nothing differs.
    torch.testing.assert_close(theseus.loss(batch), plain_loss(model, batch))

    theseus.prepare(1, 1.0)  # all modules are replaced, and the predecessor's layers are let go of
    found = put_out_by([module.successor for module in modules])
    loss = theseus.loss(batch)
    real = ROWS["attention_mask"].bool()
    read = real.clone()
    if architecture == "bert":
        read[:, 1:] = False  # the head reads the first piece alone
    pairs = zip(found[:2], wanted[:2], (real, read), strict=True)
    terms = [(successor - predecessor)[pieces].square().mean() for successor, predecessor, pieces in pairs]
    assert float(terms[1].detach()) > 0
    torch.testing.assert_close(loss, plain_loss(model, batch) + 3 * (terms[0] + terms[1]) / 2)


def put_out_by(layers: Sequence[nn.Module]) -> list[torch.Tensor]:
    """What the layers put out from now on, in the order in which they do."""
    put_out: list[torch.Tensor] = []
    for layer in layers:
        layer.register_forward_hook(lambda _layer, _inputs, out: put_out.append(states_of(out).detach()))
    return put_out


def plain_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    return TextClassification(classification()).loss(model(**batch.inputs).logits, batch)


@pytest.mark.parametrize("replaced", [[True, False, True], [False, False, False], [True, True, True]])
@pytest.mark.parametrize("of_first_piece", ["predecessor", "successor"])
def test_rows_mix_where_one_side_alone_gives_first_pieces(of_first_piece: str, replaced: list[bool]) -> None:
    """One of two last layers has a form that spares the other pieces: the head reads what both have."""

    class FirstPiece(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states[:, :1] * 2

    class AllPieces(nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states * 3

    sides = {"predecessor": AllPieces(), "successor": AllPieces(), of_first_piece: FirstPiece()}
    module = ReplaceableModule([sides["predecessor"]], sides["successor"]).train()
    module.replaced = torch.tensor(replaced)
    factors = [2 if (of_first_piece == "successor") == by_successor else 3 for by_successor in replaced]
    found = module(torch.ones(3, 4, 1))[:, 0, 0]
    assert found.tolist() == factors
