"""Students: which layers are compared, what each term does, what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compression.errors import InputError
from compression.methods.distill.objective import compared_layers
from compression.methods.distill.params import DistillParams
from tests.compression.jobs import TRAINING, make_spec, run_to_end, weights_of


@pytest.mark.parametrize(
    ("layers", "student", "choice", "ends", "inner"),
    [
        (12, 6, "skip", {1: 2, 2: 4, 3: 6, 4: 8, 5: 10, 6: 12}, {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}),
        (12, 3, "last", {1: 4, 2: 8, 3: 12}, {1: 10, 2: 11}),
        (5, 2, "skip", {1: 2, 2: 5}, {1: 2}),
    ],
)
def test_compared_layers(
    layers: int, student: int, choice: str, ends: dict[int, int], inner: dict[int, int]
) -> None:
    params = DistillParams.model_validate({"student_layers": student, "patient": {"layers": choice}})
    assert compared_layers(params, layers) == (ends, inner)


@pytest.mark.parametrize(
    ("settings", "layers", "code", "place"),
    [
        ({"student_layers": 6}, 6, "successor_too_deep", "/student_layers"),
        ({}, 1, "successor_too_deep", "/student_layers"),
        ({"student_layers": 1, "preset": "patient"}, 6, "no_inner_layers", "/patient"),
    ],
)
def test_impossible_students_are_refused(
    settings: dict[str, Any], layers: int, code: str, place: str
) -> None:
    with pytest.raises(InputError) as refused:
        DistillParams.model_validate(settings).partition(layers)
    assert [(p.code, p.place) for p in refused.value.problems] == [(code, place)]


def test_a_preset_fills_in_what_is_not_said() -> None:
    params = DistillParams.model_validate({"preset": "distilbert", "cosine_weight": 1})
    assert (params.initialization, params.cosine_weight, params.distillation.weight) == ("spread", 1, 0.7)
    assert DistillParams.model_validate({"preset": "patient"}).patient is not None
    with pytest.raises(ValidationError):
        DistillParams.model_validate({"preset": "other"})


TERMS: list[dict[str, Any]] = [
    {},
    {"cosine_weight": 1.0},
    {"patient": {"weight": 1.0, "layers": "last"}},
    {"hidden_weight": 1.0},
    {"attention_weight": 1.0},
]


def test_every_term_changes_what_is_learnt(tmp_path: Path) -> None:
    results = set()
    for number, terms in enumerate(TERMS):
        training = TRAINING | {"max_steps": 2}
        step = {"method": "distill", "student_layers": 2, **terms, "training": training}
        (tmp_path / str(number)).mkdir()
        run_to_end(
            make_spec(tmp_path / str(number), [step], regression=number == 4), tmp_path / str(number) / "out"
        )
        results.add(weights_of(tmp_path / str(number) / "out"))
    assert len(results) == len(TERMS)
