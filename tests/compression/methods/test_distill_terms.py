"""The terms of distillation beside what transformers shows of the same two models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compression.losses import attention_loss, cosine_loss, masked_mse, patient_loss
from compression.methods.distill.objective import DistillObjective
from compression.methods.distill.params import DistillParams
from compression.training.states import Teacher
from tests.compression.bare import BATCH, context_of, hidden, load, scores

MASK = BATCH.attention_mask


def objective_of(
    student: PreTrainedModel, teacher: PreTrainedModel, folder: Path, **terms: Any
) -> DistillObjective:
    context = context_of(folder)
    params = DistillParams.model_validate({"student_layers": 2, **terms})
    answers = Teacher(teacher, (), (), torch.float32).logits_for
    return DistillObjective(student, teacher, answers, params, context)


def loss_of(tmp_path: Path, **terms: Any) -> tuple[float, PreTrainedModel, PreTrainedModel]:
    student, teacher = load(tmp_path / "student", 2, seed=5), load(tmp_path / "teacher", 4, seed=6)
    return (
        float(objective_of(student, teacher, tmp_path / "teacher", **terms).loss(BATCH)),
        load(tmp_path / "student", 2, seed=5),
        load(tmp_path / "teacher", 4, seed=6),
    )


@pytest.mark.parametrize("term", ["cosine", "hidden", "attention", "skip", "last"])
@torch.no_grad()
def test_a_term_is_its_weight_times_what_the_models_differ_by(tmp_path: Path, term: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "cosine": {"cosine_weight": 0.7},
        "hidden": {"hidden_weight": 0.7},
        "attention": {"attention_weight": 0.7},
        "skip": {"patient": {"weight": 0.7, "layers": "skip"}},
        "last": {"patient": {"weight": 0.7, "layers": "last"}},
    }
    found, student, teacher = loss_of(tmp_path, **settings[term])
    without, *_ = loss_of(tmp_path)
    pairs = ((1, 2), (2, 4))
    match term:
        case "cosine":
            expected = cosine_loss(hidden(student, 2), hidden(teacher, 4), MASK)
        case "hidden":
            terms = [masked_mse(hidden(student, s), hidden(teacher, t), MASK) for s, t in pairs]
            expected = torch.stack(terms).mean()
        case "attention":
            terms = [attention_loss(scores(student, s), scores(teacher, t), MASK) for s, t in pairs]
            expected = torch.stack(terms).mean()
        case _:
            first = hidden(student, 1)[:, :1], hidden(teacher, 2 if term == "skip" else 3)[:, :1]
            expected = patient_loss(*first)
    assert found - without == pytest.approx(0.7 * float(expected), rel=1e-3)


def test_states_of_another_width_are_compared_through_one_matrix_that_learns(tmp_path: Path) -> None:
    student, teacher = load(tmp_path / "student", 2, seed=5, hidden=8), load(tmp_path / "teacher", 4, seed=6)
    settings = [{}, {"hidden_weight": 0.7}]
    without, objective = (objective_of(student, teacher, tmp_path / "teacher", **s) for s in settings)
    assert objective.projection is not None
    matrix = objective.projection.weight
    loss = objective.loss(BATCH)
    terms = [
        masked_mse(hidden(student, s) @ matrix.T, hidden(teacher, t), MASK).detach()
        for s, t in ((1, 2), (2, 4))
    ]
    expected = 0.7 * float(torch.stack(terms).mean())
    assert loss.item() - without.loss(BATCH).item() == pytest.approx(expected, rel=1e-3)
    assert any(parameter is matrix for parameter in objective.trained())
    (gradient,) = torch.autograd.grad(loss, [matrix])
    assert gradient.abs().max() > 0
