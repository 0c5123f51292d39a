"""The training loop held to steps that are known: which weights it keeps, when it stops, how far each step goes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from compression.data.batches import collate, epoch_batches
from compression.events import EventWriter, ProgressEvent, parse_event
from compression.training.loop import train
from compression.training.objectives import TaskObjective
from compression.training.params import Training
from compression.training.precision import MixedPrecision
from tests.compression.bare import CPU, TWO_ROWS, context_of, data_of, load
from tests.compression.encoded import classification, of_rows

SELECTION = of_rows(classification(), np.array([0, 0, 0, 1]))
TRACE = ("bert.embeddings.position_embeddings.weight", 60)
"""A weight that no row comes to."""
FIRST, SECOND = (2.0, 0.0), (0.0, 2.0)
"""Answers for all rows alike: 3 of 4 are right, or 1 of 4."""


def traced(model: PreTrainedModel) -> int:
    return round(model.get_parameter(TRACE[0])[TRACE[1], 0].item())


class Scripted(TaskObjective):
    """Leaves a head that gives the same answer to everything, another one after each step, and the step's number."""

    def __init__(self, model: PreTrainedModel, answers: list[tuple[float, float]], **from_step: int) -> None:
        super().__init__(model)
        self.answers, self.from_step, self.step = answers, from_step, 0

    def deliverable(self, done: int) -> bool:
        return done >= self.from_step.get("deliverable", 0)

    def prepare(self, step: int, fraction: float) -> bool:
        self.step, self.settled = step + 1, step + 1 >= self.from_step.get("settled", 0)
        return True

    def after_step(self, weights: MixedPrecision) -> None:
        weights.exact(self.model.get_parameter("classifier.weight")).zero_()
        answer = torch.tensor(self.answers[self.step - 1])
        weights.exact(self.model.get_parameter("classifier.bias")).copy_(answer)
        weights.exact(self.model.get_parameter(TRACE[0]))[TRACE[1], 0] = self.step
        weights.refresh()


def trained(
    folder: Path, answers: list[tuple[float, float]], patience: int | None = None, **from_step: int
) -> tuple[int, list[float]]:
    """The step whose weights are kept, and the accuracies on the way."""
    model, context = load(folder, 1, seed=6), context_of(folder)
    reference = np.array([[1, 0]] * 4, dtype=np.float32)
    training = Training(epochs=len(answers), batch_size=2, learning_rate=1e-12, patience=patience)
    data = data_of(TWO_ROWS, SELECTION, reference=reference)
    train(Scripted(model, answers, **from_step), data, training, context)
    kept = traced(model)
    assert model.get_parameter("classifier.bias").tolist() == pytest.approx(answers[kept - 1])
    return kept, [value for _, value in context.curves["eval.accuracy"]]


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ([SECOND, FIRST, SECOND, SECOND], 2),
        ([FIRST, SECOND], 1),
        # As right as others, and nearest to (1, 0).
        ([(0.0, 1.0), (3.0, 0.0), (1.2, 0.0), (2.0, 0.0), SECOND], 3),
        # As right and as near: the later.
        ([FIRST, FIRST, SECOND], 2),
    ],
)
def test_the_most_right_weights_are_kept_and_of_these_the_most_loyal(
    tmp_path: Path, answers: list[tuple[float, float]], kept: int
) -> None:
    found, accuracies = trained(tmp_path, answers)
    assert accuracies == [0.75 if first > second else 0.25 for first, second in answers]
    assert found == kept


def test_what_cannot_be_the_result_is_not_kept(tmp_path: Path) -> None:
    assert trained(tmp_path, [FIRST, FIRST, SECOND, SECOND], deliverable=3)[0] == 4


def test_training_stops_after_so_many_validations_that_were_no_better(tmp_path: Path) -> None:
    """The fourth is as good as the second, and no better."""
    answers = [SECOND, FIRST, SECOND, FIRST, FIRST, FIRST]
    assert trained(tmp_path, answers, patience=2) == (4, [0.25, 0.75, 0.25, 0.75])
    assert len(trained(tmp_path, answers, patience=5)[1]) == 6
    assert len(trained(tmp_path, answers)[1]) == 6


@pytest.mark.parametrize(
    ("hindrance", "last"),
    [("settled", 6), ("deliverable", 7)],  # the first that can be the result is better than none
)
def test_patience_counts_from_when_validations_show_the_model_that_is_to_be(
    tmp_path: Path, hindrance: str, last: int
) -> None:
    from_step = {hindrance: 5}
    assert len(trained(tmp_path, [FIRST] * 9, patience=2, **from_step)[1]) == last


def test_without_rows_to_choose_by_the_last_weights_stay(tmp_path: Path) -> None:
    model = load(tmp_path, 1, seed=6)
    training = Training(epochs=3, batch_size=2, learning_rate=1e-12)
    train(Scripted(model, [FIRST, FIRST, SECOND]), data_of(TWO_ROWS), training, context_of(tmp_path))
    assert traced(model) == 3


@pytest.mark.parametrize(
    ("training", "clip_norm"),
    [(Training(), 0.3), (Training(clip_norm=2), 2.0), (Training(clip_norm=5), 5.0)],
)
def test_steps_are_those_of_adamw_on_clipped_gradients_with_a_falling_rate(
    tmp_path: Path, training: Training, clip_norm: float
) -> None:
    rows = of_rows(classification(), np.array([0, 1, 1, 0, 0, 0]))
    training = training.model_copy(update={"batch_size": 2, "epochs": 2, "weight_decay": 0.1})
    ours, torchs = load(tmp_path, 1, seed=6), load(tmp_path, 1, seed=6)
    train(TaskObjective(ours), data_of(rows), training, context_of(tmp_path))

    optimizer = torch.optim.AdamW(torchs.parameters(), weight_decay=0.1)
    norms = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * (1 - step / 6)
        batch = collate(rows, epoch_batches(rows, 2, 0, step // 3)[step % 3], CPU)
        optimizer.zero_grad()
        torchs(**batch.inputs, labels=batch.labels).loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(torchs.parameters(), clip_norm)))
        optimizer.step()
    assert 1 < min(norms) < 2 < max(norms) < 5
    for name in ("classifier.weight", "classifier.bias", "bert.pooler.dense.weight"):
        torch.testing.assert_close(ours.get_parameter(name), torchs.get_parameter(name), rtol=0, atol=1e-6)


def test_the_rate_rises_and_falls(tmp_path: Path) -> None:
    model, training = load(tmp_path, 1, seed=6), Training(epochs=4, batch_size=2, learning_rate=0.01)
    context = context_of(tmp_path)
    rising = training.model_copy(update={"warmup_fraction": 0.5})
    train(TaskObjective(model), data_of(TWO_ROWS), rising, context)
    assert [rate for _, rate in context.curves["learning_rate"]] == pytest.approx([0, 0.005, 0.01, 0.005])


def test_examples_per_second_are_rows_and_not_places_in_batches(tmp_path: Path) -> None:
    model, context, told = load(tmp_path, 1, seed=6), context_of(tmp_path), io.StringIO()
    context.emit = EventWriter(told)
    rows = of_rows(classification(), np.array([0, 1, 1, 0, 0]))
    train(TaskObjective(model), data_of(rows), Training(epochs=2, batch_size=4), context)
    events = map(parse_event, told.getvalue().splitlines())
    progress = [event for event in events if isinstance(event, ProgressEvent)]
    seconds = [(event.eta_seconds or 0) * event.step / (event.total - event.step) for event in progress]
    rates = [rate for _, rate in context.curves["examples_per_second"]]
    examples = [rate * taken for rate, taken in zip(rates, seconds, strict=True)]
    assert examples[1::2] == pytest.approx([5, 10])
