"""Caught states beside what transformers itself gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from compression.architectures import anatomy_of, states_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.checkpoints.traits import architectures_with
from compression.data.batches import Batch
from compression.training.states import States, Teacher
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification

ROWS = {
    "input_ids": torch.tensor([[2, 9, 11, 3, 0], [2, 8, 10, 12, 3]]),
    "attention_mask": torch.tensor([[1] * 4 + [0], [1] * 5]),
}
BATCH = Batch(
    task=classification(),
    **ROWS,
    token_type_ids=None,
    labels=torch.zeros(2, dtype=torch.int64),
    rows=np.arange(2),
    outputs=np.arange(2),
)


@pytest.mark.parametrize("architecture", architectures_with("own_layers"))
def test_states_are_those_of_the_model(tmp_path: Path, architecture: Architecture) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m", architecture, layers=3))
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    plain = architecture in architectures_with("plain_scores")
    states = States(model, hidden=(0, 1, 2), attention=(2,) if plain else ())
    model.set_attn_implementation("eager")
    with torch.no_grad():
        given = model(**ROWS, output_hidden_states=True, output_attentions=True)
    for layer in (0, 1, 2):
        torch.testing.assert_close(states.hidden[layer], given.hidden_states[layer])
    if plain:
        hidden = torch.zeros(2, 1, 1, 5).masked_fill(ROWS["attention_mask"][:, None, None] == 0, -1e9)
        torch.testing.assert_close((states.scores(2) + hidden).softmax(dim=-1), given.attentions[1])
    states.release()
    model(**ROWS)
    assert not states.hidden


@pytest.mark.parametrize("as_read", [False, True])
@pytest.mark.parametrize("architecture", architectures_with("own_layers"))
def test_a_teacher_shows_the_states_of_the_original_and_answers_as_it_does(
    tmp_path: Path, architecture: Architecture, as_read: bool
) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m", architecture, layers=3))
    model = load_model(source.folder, source.facts, torch.device("cpu"))
    teacher = Teacher(model, hidden=(2, 3), attention=(), dtype=torch.float32, as_read=as_read)
    last: list[torch.Tensor] = []
    anatomy_of(model).layers_of(model)[-1].register_forward_hook(
        lambda _module, _inputs, output: last.append(states_of(output))
    )
    with torch.no_grad():
        given = model(**ROWS, output_hidden_states=True)
    teacher.look_at(BATCH)
    shown = teacher.states.hidden
    torch.testing.assert_close(shown[2], given.hidden_states[2])
    first = as_read and anatomy_of(model).reads_first_piece
    torch.testing.assert_close(shown[3], last[0][:, :1] if first else last[0])
    computed = anatomy_of(model).layers_of(teacher.body)[-1].forward
    assert getattr(computed, "first_only", False) == first, "what nobody looks at is not computed"
    torch.testing.assert_close(teacher.logits, given.logits)
    teacher.forget()
    assert not teacher.states.hidden
    assert not len(teacher.logits)
