"""Students cut out of their teachers, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import Source, load_model, open_source
from compression.errors import InputError
from compression.methods.shape import ModelShape
from compression.methods.tinybert.method import shape_of
from compression.methods.tinybert.params import TinyBertParams
from compression.methods.tinybert.student import cut_student
from compression.training.states import States
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import TRAINING, make_spec, run_to_end, weights_of

CPU = torch.device("cpu")
SHAPE = ModelShape(
    task="text-classification",
    architecture="bert",
    layers=6,
    hidden_size=384,
    attention_heads=12,
    intermediate_size=1536,
    vocabulary_size=100,
)
ROWS = {"input_ids": torch.tensor([[2, 9, 11, 3, 5], [2, 8, 10, 12, 3]])}


def teacher(folder: Path, architecture: Architecture = "bert") -> tuple[Source, PreTrainedModel]:
    source = open_source(make_tiny_checkpoint(folder, architecture, layers=4))
    return source, load_model(source.folder, source.facts, CPU)


@pytest.mark.parametrize(
    ("mapping", "layers", "student", "mapped"),
    [
        ("uniform", 12, 4, [3, 6, 9, 12]),
        ("uniform", 5, 2, [2, 5]),
        ("top", 12, 4, [9, 10, 11, 12]),
        ("bottom", 12, 4, [1, 2, 3, 4]),
    ],
)
def test_mapped_layers(mapping: str, layers: int, student: int, mapped: list[int]) -> None:
    params = TinyBertParams.model_validate({"mapping": mapping, "student_layers": student})
    assert params.mapped(layers) == mapped


def test_the_feed_forward_part_keeps_its_proportion() -> None:
    shape = TinyBertParams(student_layers=4, hidden_size=312 // 12 * 6).resulting(SHAPE)
    assert (shape.layers, shape.hidden_size, shape.intermediate_size) == (4, 156, 624)


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({"student_layers": 7}, ["/student_layers"]),
        ({"student_layers": 6}, ["/student_layers"]),
        ({"hidden_size": 396}, ["/hidden_size"]),
        ({"hidden_size": 100}, ["/hidden_size"]),
        ({"hidden_size": 500, "intermediate_size": 2000}, ["/hidden_size", "/hidden_size", "/intermediate_size"]),
    ],
)  # fmt: skip
def test_impossible_students_are_refused(settings: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        TinyBertParams.model_validate(settings).resulting(SHAPE)
    assert [problem.place for problem in refused.value.problems] == places


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_a_student_of_full_width_is_the_teacher_without_some_layers(
    tmp_path: Path, architecture: Architecture
) -> None:
    _, model = teacher(tmp_path / "m", architecture)
    cut = cut_student(model, [1, 3], shape_of(model).model_copy(update={"layers": 2}))
    anatomy = anatomy_of(model)
    layers = anatomy.layers_of(model)
    anatomy.put_layers(model, [layers[1], layers[3]])
    with torch.no_grad():
        torch.testing.assert_close(cut.student(**ROWS).logits, model(**ROWS).logits)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_what_is_cut_away_is_what_weighs_least(tmp_path: Path, architecture: Architecture) -> None:
    """A teacher whose second halves are empty loses nothing but the scale of its norms."""
    _, model = teacher(tmp_path / "m", architecture)
    anatomy = anatomy_of(model)
    with torch.no_grad():
        for layer in anatomy.layers_of(model):
            query, key, value, _ = anatomy.attention_of(layer)
            into, out_of = anatomy.feed_forward_of(layer)
            for linear in (query, key, value):  # heads of 8 channels: the last 4 of each are empty
                for start in (4, 12):
                    linear.weight[start : start + 4] = 0
                    linear.bias[start : start + 4] = 0
            into.weight[16:] = 0
            into.bias[16:] = 0
            out_of.weight[:, 16:] = 0
    shape = shape_of(model).model_copy(update={"hidden_size": 8, "intermediate_size": 16})
    cut = cut_student(model, [0, 1, 2, 3], shape)
    ours, theirs = anatomy.layers_of(cut.student)[1], anatomy.layers_of(model)[1]
    states = torch.randn(1, 3, 16)
    states[..., [i for i in range(16) if i not in cut.channels]] = 0
    for index, kept in ((0, [0, 1, 2, 3, 8, 9, 10, 11]), (2, [0, 1, 2, 3, 8, 9, 10, 11])):
        scale = 0.5**0.5 if index == 0 else 1
        with torch.no_grad():
            expected = anatomy.attention_of(theirs)[index](states)[..., kept] * scale
            given = anatomy.attention_of(ours)[index](states[..., cut.channels])
        torch.testing.assert_close(given, expected)
    inner = anatomy.feed_forward_of(ours)[0]
    assert torch.equal(inner.weight, anatomy.feed_forward_of(theirs)[0].weight[:16][:, cut.channels])
    # Scores stay what they are for states that live in the channels that are kept.
    caught = [States(m, (), (1,)) for m in (cut.student, model)]
    with torch.no_grad():
        anatomy.attention_of(anatomy.layers_of(cut.student)[0])[0](states[..., cut.channels])
        anatomy.attention_of(anatomy.layers_of(cut.student)[0])[1](states[..., cut.channels])
        anatomy.attention_of(anatomy.layers_of(model)[0])[0](states)
        anatomy.attention_of(anatomy.layers_of(model)[0])[1](states)
    torch.testing.assert_close(caught[0].scores(1), caught[1].scores(1))


def test_every_setting_changes_what_is_learnt(tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"hidden_weight": 0, "embedding_weight": 0},
        {"attention_weight": 0},
        {"augmentation": {}},
        {"mapping": "top"},
    ]
    results = set()
    for number, changed in enumerate(settings):
        step = {"method": "tinybert", "student_layers": 2, **changed, "training": TRAINING | {"max_steps": 4}}
        (tmp_path / str(number)).mkdir()
        run_to_end(make_spec(tmp_path / str(number), [step]), tmp_path / str(number) / "out")
        results.add(weights_of(tmp_path / str(number) / "out"))
    assert len(results) == len(settings)
