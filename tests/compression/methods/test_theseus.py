"""Module replacing itself, on tiny random models without dropout."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context
from compression.events import EventWriter
from compression.methods.theseus.method import ReplaceableModule, TheseusObjective, wrap
from compression.methods.theseus.params import TheseusParams
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import TRAINING, make_spec, run_to_end

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


def wrapped(model: PreTrainedModel, **settings: Any) -> list[ReplaceableModule]:
    return wrap(model, anatomy_of(model), TheseusParams.model_validate(settings), torch.float32)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_without_replacing_the_predecessor_speaks_and_in_evaluation_the_successor(
    tmp_path: Path, architecture: Architecture
) -> None:
    model = load(tmp_path / "m", architecture)
    before = logits(model)
    anatomy, layers = anatomy_of(model), list(anatomy_of(model).layers_of(model))
    modules = wrapped(model, successor_layers=2, initialization="module_first")

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
    ("initialization", "sources"),
    [("first_layers", [0, 1]), ("module_first", [0, 2]), ("module_last", [1, 3])],
)
def test_successors_start_as_copies(tmp_path: Path, initialization: str, sources: list[int]) -> None:
    model = load(tmp_path / "m")
    layers = list(anatomy_of(model).layers_of(model))
    modules = wrapped(model, successor_layers=2, initialization=initialization)
    for module, source in zip(modules, sources, strict=True):
        for ours, theirs in zip(module.successor.parameters(), layers[source].parameters(), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.data_ptr() != theirs.data_ptr()


def objective(
    tmp_path: Path, model: PreTrainedModel, modules: list[ReplaceableModule], **settings: Any
) -> TheseusObjective:
    context = Context(
        source=open_source(tmp_path / "m"), device=CPU, dtype=torch.float32, seed=7, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=1,
    )  # fmt: skip
    return TheseusObjective(model, modules, TheseusParams.model_validate(settings), context)


def test_modules_are_drawn_at_the_replacing_rate_and_empty_draws_are_told(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, successor_layers=2)
    schedule = {"type": "constant", "rate": 0.3, "full_at": 1.0}
    theseus = objective(tmp_path, model, modules, successor_layers=2, schedule=schedule)
    drawn, empty = 0, 0
    for step in range(4000):
        trains = theseus.prepare(step, 0.0)
        drawn += sum(module.replaced for module in modules)
        empty += not trains
        assert trains == any(module.replaced for module in modules)
    assert drawn / 8000 == pytest.approx(0.3, abs=0.02)
    assert empty / 4000 == pytest.approx(0.7**2, abs=0.03)


def test_at_full_rate_every_module_is_replaced_and_the_predecessor_is_gone(tmp_path: Path) -> None:
    model = load(tmp_path / "m")
    modules = wrapped(model, successor_layers=2)
    assert objective(tmp_path, model, modules).prepare(0, 1.0)
    assert all(module.replaced and len(module.predecessor) == 0 for module in modules)


@pytest.mark.parametrize("train_head", [False, True])
def test_embeddings_and_head_stay_as_they_were(tmp_path: Path, train_head: bool) -> None:
    step = {"method": "theseus", "successor_layers": 2, "train_head": train_head, "training": TRAINING}
    spec = make_spec(tmp_path, [step])
    run_to_end(spec, tmp_path / "out")
    before = load_file(spec.model / "model.safetensors")
    after = load_file(tmp_path / "out" / "model" / "model.safetensors")
    changed = {
        name
        for name, tensor in after.items()
        if "layer." not in name and not torch.equal(tensor, before[name])
    }
    assert all(name.startswith(("classifier", "bert.pooler")) for name in changed)
    assert bool(changed) == train_head


def test_the_distillation_term_changes_what_is_learnt(tmp_path: Path) -> None:
    results = []
    for name, distillation in (("without", None), ("with", {"weight": 0.9, "temperature": 3})):
        step = {
            "method": "theseus",
            "successor_layers": 2,
            "distillation": distillation,
            "training": TRAINING,
        }
        (tmp_path / name).mkdir()
        run_to_end(make_spec(tmp_path / name, [step]), tmp_path / name / "out")
        results.append((tmp_path / name / "out" / "model" / "model.safetensors").read_bytes())
    assert results[0] != results[1]


def test_a_model_that_names_one_class_only_is_warned_of(tmp_path: Path) -> None:
    step = {"method": "theseus", "successor_layers": 1, "training": {**TRAINING, "learning_rate": 1e-12}}
    spec = make_spec(tmp_path, [step])
    head = load_file(spec.model / "model.safetensors")
    from safetensors.torch import save_file

    head["classifier.bias"] = torch.tensor([50.0, -50.0])
    save_file(head, spec.model / "model.safetensors", metadata={"format": "pt"})
    report = run_to_end(spec, tmp_path / "out")
    assert any("same class" in warning for warning in report.warnings)
