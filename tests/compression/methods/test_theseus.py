"""Module replacing itself, on tiny random models without dropout."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from compression.architectures import anatomy_of, states_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context
from compression.data.batches import Batch
from compression.errors import Stopped
from compression.evaluation.predict import predict
from compression.events import EventWriter, parse_event
from compression.methods.layer_choice import LayerChoice
from compression.methods.theseus.method import teacher_at_borders, wrap
from compression.methods.theseus.modules import ReplaceableModule
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.run import run
from compression.tasks.text_classification.behaviour import TextClassification
from compression.training.states import Teacher
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification
from tests.compression.jobs import TRAINING, make_spec, run_to_end, stop_after, weights_of

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


@pytest.mark.parametrize(
    ("settings", "given", "sources"),
    [
        ({"successor_layers": 2}, {"layers": 5}, [1, 4]),
        ({"modules": [1, 3]}, {}, [0, 3]),
        ({"successor_layers": 2}, {"regression": True}, [1, 3]),
        ({"successor_layers": 2}, {"pairs": True}, [1, 3]),
        ({"successor_layers": 2}, {"labels": ["bad", "fine", "good"]}, [1, 3]),
    ],
    ids=["uneven-modules", "explicit-modules", "regression", "pairs", "three-classes"],
)
def test_a_whole_run_leaves_a_plain_model_that_gives_the_reported_outputs(
    tmp_path: Path, settings: dict[str, Any], given: dict[str, Any], sources: list[int]
) -> None:
    """Where layers, outputs or inputs are not the usual ones; few steps leave a layer nearest to its source."""
    spec = make_spec(tmp_path, [{"method": "theseus", **settings, "training": TRAINING}], **given)
    report = run_to_end(spec, tmp_path / "out")
    assert report.curves["replacing_rate"][-1].value == 1

    result = tmp_path / "out" / "model"
    model = AutoModelForSequenceClassification.from_pretrained(result).eval()
    assert len(anatomy_of(model).layers_of(model)) == model.config.num_hidden_layers == 2
    assert list(model.config.id2label.values()) == list(open_source(spec.model).facts.labels)
    original, successor = (load_file(folder / "model.safetensors") for folder in (spec.model, result))
    name = "bert.encoder.layer.{}.attention.self.query.weight"
    for place, source in enumerate(sources):
        moved = {
            layer: float((successor[name.format(place)] - original[name.format(layer)]).norm())
            for layer in range(report.before.layers)
        }
        assert min(moved, key=lambda layer: moved[layer]) == source

    tokenizer = AutoTokenizer.from_pretrained(result)
    lines = (tmp_path / "out" / "artifacts" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 24
    for row in map(json.loads, lines):
        inputs = tokenizer(row["text"], row.get("text_pair"), return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs).logits[0]
        np.testing.assert_allclose(outputs.numpy(), np.atleast_1d(row["after"]), atol=1e-5)


@pytest.mark.parametrize("head", ["frozen", "at_end", "trained"])
def test_embeddings_and_head_stay_as_they_were(tmp_path: Path, head: str) -> None:
    schedule = {"type": "linear", "full_at": 0.2}
    step = {
        "method": "theseus",
        "successor_layers": 2,
        "head": head,
        "schedule": schedule,
        "training": TRAINING,
    }
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
    assert bool(changed) == (head != "frozen")


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


def test_a_model_that_names_one_class_only_is_warned_of_once(tmp_path: Path) -> None:
    training = {**TRAINING, "learning_rate": 1e-12, "evaluations_per_epoch": 2}
    spec = make_spec(tmp_path, [{"method": "theseus", "successor_layers": 1, "training": training}])
    head = load_file(spec.model / "model.safetensors")
    from safetensors.torch import save_file

    head["classifier.bias"] = torch.tensor([50.0, -50.0])
    save_file(head, spec.model / "model.safetensors", metadata={"format": "pt"})
    events = io.StringIO()
    report = run(spec, tmp_path / "out", EventWriter(events), lambda: False)
    assert sum("same answer" in warning for warning in report.warnings) == 1
    told = [event for event in map(parse_event, events.getvalue().splitlines()) if event.type == "warning"]
    assert [event.code for event in told].count("stuck_at_one_class") == 1


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


@pytest.mark.parametrize(
    "settings",
    [{"gates": "example"}, {"border_weight": 1.0}, {"hidden_weight": 1.0}, {"initialization": "probe"}],
)
def test_options_leave_a_model_that_learnt(tmp_path: Path, settings: dict[str, Any]) -> None:
    step = {"method": "theseus", "successor_layers": 2, "probe_steps": 2, **settings, "training": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step], architecture="distilbert"), tmp_path / "out")
    assert report.after.layers == 2
    assert bool(report.notes) == ("initialization" in settings)


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


def test_a_probe_is_not_repeated_after_an_interruption_and_changes_nothing(tmp_path: Path) -> None:
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "probe_steps": 3}
    spec = make_spec(tmp_path, [step | {"training": TRAINING}])
    whole = run_to_end(spec, tmp_path / "whole")
    # 4 validation rows' batches and 3 steps for each of 4 candidates come before the training.
    for checks in (5, 12, 20, 24):
        out = tmp_path / f"stopped-{checks}"
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        files = sorted((out / "checkpoints").glob("*.safetensors"))
        resume_from = files[-1] if files else None
        runtime = spec.runtime.model_copy(update={"resume_from": resume_from})
        report = run_to_end(spec.model_copy(update={"runtime": runtime}), out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")
        assert report.notes == whole.notes


def test_training_stops_when_patience_is_spent_once_the_successor_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TRAINING | {"epochs": 20, "patience": 2, "learning_rate": 1e-12}
    schedule = {"type": "constant", "full_at": 0.5}
    step = {"method": "theseus", "successor_layers": 2, "schedule": schedule, "training": training}
    spec = make_spec(tmp_path, [step])
    report = run_to_end(spec, tmp_path / "out")
    # 6 steps an epoch, validated after each; whole from step 60 on, and then in vain at steps 66 and 72.
    assert [point.step for point in report.curves["eval.accuracy"]][-2:] == [66, 72]

    validations = 0

    def counted(*arguments: Any) -> Any:
        nonlocal validations
        validations += 1
        return predict(*arguments)

    monkeypatch.setattr("compression.training.loop.predict", counted)
    with pytest.raises(Stopped):  # in the middle of the validation after step 66
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), lambda: validations == 11)
    newest = max((tmp_path / "stopped" / "checkpoints").glob("*.safetensors"))
    assert newest.stem.endswith("66")
    runtime = spec.runtime.model_copy(update={"resume_from": newest})
    report = run_to_end(spec.model_copy(update={"runtime": runtime}), tmp_path / "again")
    assert [point.step for point in report.curves["eval.accuracy"]][-2:] == [66, 72]
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "out")


def test_a_last_batch_in_which_no_row_draws_a_successor_trains_nothing(tmp_path: Path) -> None:
    spec_of = {
        "method": "theseus", "successor_layers": 2, "gates": "example",
        "schedule": {"type": "constant", "rate": 0.02, "full_at": 1.0},
        "training": TRAINING | {"batch_size": 47, "epochs": 6},
    }  # fmt: skip
    run_to_end(make_spec(tmp_path, [spec_of]), tmp_path / "out")


def test_a_probe_takes_no_more_steps_than_the_training_whose_rows_the_teacher_knows(tmp_path: Path) -> None:
    training = TRAINING | {"max_steps": 2, "batching": "padded"}
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "distillation": {}}
    report = run_to_end(make_spec(tmp_path, [step | {"training": training}]), tmp_path / "out")
    (note,) = (note for note in report.notes if note.startswith("theseus: validation loss"))
    assert "after 2 steps" in note
    assert "inf" not in note


def test_a_probe_that_tells_nothing_keeps_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compression.methods.theseus.probe.validation_loss", lambda *_: float("nan"))
    step = {"method": "theseus", "successor_layers": 2, "initialization": "probe", "training": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    assert any(note.endswith("kept: module_last") for note in report.notes)


def test_options_survive_an_interruption(tmp_path: Path) -> None:
    options = {"head": "at_end", "gates": "example", "border_weight": 0.5}
    schedule = {"type": "step", "full_at": 0.3, "stagger": 0.1}
    step = {"method": "theseus", "successor_layers": 2, **options, "schedule": schedule, "training": TRAINING}
    spec = make_spec(tmp_path, [step])
    run_to_end(spec, tmp_path / "whole")
    for checks in (4, 10):
        out = tmp_path / f"stopped-{checks}"
        with pytest.raises(Stopped):
            run(spec, out, EventWriter(io.StringIO()), stop_after(checks))
        newest = max((out / "checkpoints").glob("*.safetensors"))
        runtime = spec.runtime.model_copy(update={"resume_from": newest})
        run_to_end(spec.model_copy(update={"runtime": runtime}), out / "again")
        assert weights_of(out / "again") == weights_of(tmp_path / "whole")
