"""What a student of TinyBERT starts from and learns, beside numbers made of what transformers shows of both models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from compression.methods.tinybert.method import run, shape_of
from compression.methods.tinybert.objective import TinyBertObjective
from compression.methods.tinybert.params import TinyBertParams
from compression.methods.tinybert.student import cut_student
from compression.training.loop import train
from tests.compression.bare import BATCH, TWO_ROWS, context_of, data_of, hidden, load, scores

LENGTHS = TWO_ROWS.lengths.tolist()
WEIGHTS = {"embedding_weight": 0.3, "hidden_weight": 0.5, "attention_weight": 0.7}
TRAINING = {"batch_size": 2, "epochs": 10, "learning_rate": 1e-12}
"""Ten steps over both rows that leave the model as it is."""
HEADS = 2


def of_shown(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """Mean squared difference of states (B, L, H) over the places that are no padding."""
    pairs = [(s[:n] - t[:n]).flatten() for s, t, n in zip(student, teacher, LENGTHS, strict=True)]
    return float(torch.cat(pairs).square().mean())


def of_shown_pairs(student: torch.Tensor, teacher: torch.Tensor) -> float:
    pairs = [
        (s[:, :n, :n] - t[:, :n, :n]).flatten() for s, t, n in zip(student, teacher, LENGTHS, strict=True)
    ]
    return float(torch.cat(pairs).square().mean())


def squares(model: PreTrainedModel, path: str, axis: int) -> torch.Tensor:
    weight: torch.Tensor = model.get_parameter(f"bert.{path}.weight").detach()
    return weight.square().sum(axis)


def heaviest(weights: torch.Tensor, count: int) -> list[int]:
    return sorted(np.argsort(-weights.numpy())[:count].tolist())


def heaviest_of_heads(weights: torch.Tensor, count: int) -> list[int]:
    width = len(weights) // HEADS
    return [
        h * width + place for h in range(HEADS) for place in heaviest(weights[h * width :][:width], count)
    ]


def channels_to_keep(model: PreTrainedModel, count: int) -> list[int]:
    """By the squares of what norms give a channel, mean over all norms, times those of the weights that read it."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    sizes = sum(norm.weight.detach() ** 2 + norm.bias.detach() ** 2 for norm in norms)
    readers = ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense")
    layers = range(model.config.num_hidden_layers)
    read = sum(squares(model, f"encoder.layer.{i}.{reader}", 0) for i in layers for reader in readers)
    return heaviest(torch.as_tensor(sizes * read), count)


@pytest.mark.parametrize("width", [16, 8])
def test_both_stages_learn_what_they_should(tmp_path: Path, width: int) -> None:
    teacher, context = load(tmp_path, 4, seed=6), context_of(tmp_path)
    settings: dict[str, Any] = {"student_layers": 2, "hidden_size": width, "temperature": 3, **WEIGHTS}
    student = run(teacher, data_of(TWO_ROWS), TinyBertParams(**settings, training=TRAINING), context)

    with torch.no_grad():
        first = second = 0.0
        as_wide = torch.eye(16)[:, channels_to_keep(teacher, width)]
        for ours, theirs in ((0, 0), (1, 2), (2, 4)):
            difference = of_shown(hidden(student, ours) @ as_wide.T, hidden(teacher, theirs))
            first += (0.5 if ours else 0.3) * difference
        for ours, theirs in ((1, 2), (2, 4)):
            first += 0.7 * of_shown_pairs(scores(student, ours), scores(teacher, theirs))
        said, right = (model(**BATCH.inputs).logits / 3 for model in (student, teacher))
        second = 9 * float(functional.kl_div(said.log_softmax(-1), right.softmax(-1), reduction="batchmean"))
    assert abs(first - second) > 0.01
    assert [stage for _, stage in context.curves["stage"]] == [1] * 6 + [2] * 4
    assert [loss for _, loss in context.curves["loss"]] == pytest.approx([first] * 6 + [second] * 4, rel=1e-4)


def test_the_projection_is_trained(tmp_path: Path) -> None:
    """Each of its weights by the learning rate: that is what Adam's first step is, whatever the gradient."""
    teacher, context = load(tmp_path, 4, seed=6), context_of(tmp_path)
    once = TRAINING | {"max_steps": 1, "learning_rate": 0.01}
    params = TinyBertParams(student_layers=2, hidden_size=8, training=once)
    cut = cut_student(teacher, [1, 3], params.resulting(shape_of(teacher)))
    objective = TinyBertObjective(cut, teacher, data_of(TWO_ROWS), params, context)
    assert objective.projection is not None
    before = objective.projection.weight.detach().clone()
    train(objective, data_of(TWO_ROWS), params.training, context)
    moved = (objective.projection.weight - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-3, atol=0)


def test_a_narrower_student_is_the_heaviest_part_of_its_teacher(tmp_path: Path) -> None:
    teacher = load(tmp_path, 4, seed=6)
    changes = {"layers": 2, "hidden_size": 8, "intermediate_size": 12}
    cut = cut_student(teacher, [1, 3], shape_of(teacher).model_copy(update=changes))
    channels = channels_to_keep(teacher, 8)
    assert cut.channels.tolist() == channels
    ours, theirs = cut.student.state_dict(), teacher.state_dict()
    for number, source in ((0, 1), (1, 3)):
        path = f"encoder.layer.{source}"
        query, key, value = (f"{path}.attention.self.{name}" for name in ("query", "key", "value"))
        output, into, out_of = (
            f"{path}.{name}.dense" for name in ("attention.output", "intermediate", "output")
        )
        matched = heaviest_of_heads(squares(teacher, query, 1) * squares(teacher, key, 1), 4)
        carried = heaviest_of_heads(squares(teacher, value, 1) * squares(teacher, output, 0), 4)
        neurons = heaviest(squares(teacher, into, 1) * squares(teacher, out_of, 0), 12)
        assert matched != carried
        shrunk = 0.5**0.5  # a query and a key of half the width are divided by a root that is smaller by this
        for name, rows, columns, scale in (
            (query, matched, channels, shrunk), (key, matched, channels, 1), (value, carried, channels, 1),
            (output, channels, carried, 1), (into, neurons, channels, 1), (out_of, channels, neurons, 1),
        ):  # fmt: skip
            there = f"bert.{name}".replace(path, f"encoder.layer.{number}")
            expected = theirs[f"bert.{name}.weight"][rows][:, columns] * scale
            torch.testing.assert_close(ours[f"{there}.weight"], expected, msg=name)
            torch.testing.assert_close(ours[f"{there}.bias"], theirs[f"bert.{name}.bias"][rows] * scale)
    for name in (
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    ):
        assert torch.equal(ours[f"bert.{name}.weight"], theirs[f"bert.{name}.weight"][:, channels])
    assert torch.equal(
        ours["bert.pooler.dense.weight"], theirs["bert.pooler.dense.weight"][channels][:, channels]
    )
    assert torch.equal(ours["classifier.weight"], theirs["classifier.weight"][:, channels])
