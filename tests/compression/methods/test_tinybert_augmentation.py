"""Words exchanged for others, by the embedding table or by a masked language model."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compression.architectures import anatomy_of
from compression.checkpoints.facts import Architecture
from compression.checkpoints.loading import load_model, open_source
from compression.context import Context
from compression.data.batches import collate
from compression.data.encoding import Encoded
from compression.errors import InputError, Stopped
from compression.events import EventWriter
from compression.methods.tinybert.augmentation import Augmenter, GuessedWords, NearestWords
from compression.methods.tinybert.params import Augmentation
from compression.run import run
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.encoded import classification, of_rows
from tests.compression.jobs import TRAINING, make_spec, resumed, run_to_end, stop_after, weights_of

CPU = torch.device("cpu")
ROWS = [["[CLS]", "good", "bad", "x", "##y", "[SEP]"], ["[CLS]", "great", "good", "x", "##y", "[SEP]"]]


def rows_of(vocabulary: dict[str, int]) -> Encoded:
    """Two rows of three words each, the last of two pieces."""
    pieces = np.array([vocabulary[piece] for row in ROWS for piece in row], dtype=np.int32)
    return replace(of_rows(classification(), np.array([0, 1]), [6, 6]), pieces=pieces)


def changes(augmenter: Augmenter, rows: Encoded) -> float:
    """How many of the four words of one piece are exchanged in a batch, on average."""
    batch = collate(rows, np.arange(2), CPU)
    torch.manual_seed(0)
    return (
        sum((augmenter.exchange(batch).input_ids != batch.input_ids).sum().item() for _ in range(200)) / 200
    )


def test_words_are_exchanged_for_their_neighbours_and_parts_of_words_stay(tmp_path: Path) -> None:
    source = open_source(make_tiny_checkpoint(tmp_path / "m"))
    model, vocabulary = load_model(source.folder, source.facts, CPU), source.tokenizer.get_vocab()
    good, great, bad = (vocabulary[piece] for piece in ("good", "great", "bad"))
    table = anatomy_of(model).word_embeddings_of(model).weight.data
    table[great] = 2 * table[good]  # the same direction
    table[bad] = -table[good]
    rows, tokenizer = rows_of(vocabulary), source.tokenizer.backend_tokenizer.to_str()
    augmenter = NearestWords(model, rows, tokenizer, Augmentation(share=1.0, neighbours=1))
    batch = collate(rows, np.arange(2), CPU)
    before = batch.input_ids.tolist()
    exchanged = augmenter.exchange(batch).input_ids.tolist()
    assert batch.input_ids.tolist() == before
    assert [row[1] for row in exchanged] == [great, good]
    assert exchanged[1][2] == great
    for row, old in zip(exchanged, before, strict=True):
        assert (row[0], *row[3:]) == (old[0], *old[3:])
    half = NearestWords(model, rows, tokenizer, Augmentation(share=0.5, neighbours=1))
    assert changes(half, rows) == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_a_language_model_says_what_may_stand_there(tmp_path: Path, architecture: Architecture) -> None:
    """The likeliest words but for the one that stood there, when all that are exchanged are hidden at once."""
    source = open_source(make_tiny_checkpoint(tmp_path / "m"))
    teller = open_source(make_tiny_checkpoint(tmp_path / "lm", architecture, task="fill-mask", seed=3))
    vocabulary = source.tokenizer.get_vocab()
    rows, tokenizer = rows_of(vocabulary), source.tokenizer.backend_tokenizer.to_str()
    context = Context(
        source=source, device=CPU, dtype=torch.float32, seed=0, emit=EventWriter(io.StringIO()),
        stop_requested=lambda: False, checkpoint_folder=tmp_path, checkpoint_seconds=60, total_steps=1,
        models={"lm": teller.folder},
    )  # fmt: skip
    augmenter = GuessedWords("lm", tokenizer, Augmentation(share=1.0, neighbours=2, model="lm"), context)
    batch = collate(rows, np.arange(2), CPU)
    hidden = batch.input_ids.clone()
    hidden[:, 1:3] = vocabulary["[MASK]"]
    expecting = load_model(teller.folder, teller.facts, CPU)
    for model in (augmenter.model, expecting):  # what stands there would be the likeliest, too
        for rank, word in enumerate(("great", "good", "bad")):
            model.get_output_embeddings().bias.data[vocabulary[word]] = 100.0 + 10 * rank
    with torch.no_grad():
        logits = expecting(input_ids=hidden).logits
    no_words = [number for piece, number in vocabulary.items() if not piece.isalpha()]
    logits[:, :, no_words] = -torch.inf
    logits.scatter_(2, batch.input_ids[:, :, None], -torch.inf)
    likeliest = logits.topk(2, dim=-1).indices
    drawn = torch.stack([augmenter.exchange(batch).input_ids for _ in range(40)])
    kept = [0, 3, 4, 5]
    assert torch.equal(drawn[:, :, kept], batch.input_ids[:, kept].expand(40, -1, -1))
    for row in range(2):
        for place in (1, 2):
            assert set(drawn[:, row, place].tolist()) == set(likeliest[row, place].tolist())
    half = GuessedWords("lm", tokenizer, Augmentation(share=0.5, neighbours=2, model="lm"), context)
    assert changes(half, rows) == pytest.approx(2, abs=0.25)


def exchanging(model: Path) -> dict[str, Any]:
    training = TRAINING | {"max_steps": 4}
    return {
        "method": "tinybert",
        "student_layers": 2,
        "augmentation": {"model": str(model)},
        "training": training,
    }


def test_an_interruption_changes_nothing_of_what_a_language_model_says(tmp_path: Path) -> None:
    spec = make_spec(
        tmp_path, [exchanging(make_tiny_checkpoint(tmp_path / "lm", task="fill-mask"))], pairs=True
    )
    run_to_end(spec, tmp_path / "out")
    with pytest.raises(Stopped):
        run(spec, tmp_path / "stopped", EventWriter(io.StringIO()), stop_after(7))
    run_to_end(resumed(spec, tmp_path / "stopped"), tmp_path / "resumed")
    assert weights_of(tmp_path / "resumed") == weights_of(tmp_path / "out")


def test_a_language_model_of_other_word_pieces_or_of_another_task_is_refused(tmp_path: Path) -> None:
    classifier = make_tiny_checkpoint(tmp_path / "classifier")
    stranger = make_tiny_checkpoint(tmp_path / "stranger", "roberta", task="fill-mask")
    short = make_tiny_checkpoint(tmp_path / "short", task="fill-mask", max_position_embeddings=16)
    place = "/steps/0/augmentation/model"
    for model, expected in (
        (classifier, ("no_language_model", place)),
        (stranger, ("language_model_differs", place)),
        (tmp_path / "nothing", ("unknown_model", place)),
        (short, ("language_model_too_short", "/task/max_length")),
    ):
        (tmp_path / f"with-{model.name}").mkdir()
        with pytest.raises(InputError) as refused:
            make_spec(tmp_path / f"with-{model.name}", [exchanging(model)])
        assert [(p.code, p.place) for p in refused.value.problems] == [expected]
    fitting = make_tiny_checkpoint(tmp_path / "fitting", task="fill-mask")
    steps = [{"method": "trim_vocabulary", "keep_share": 0.9}, exchanging(fitting)]
    (tmp_path / "trimmed").mkdir()
    with pytest.raises(InputError, match="put tinybert before trim_vocabulary") as refused:
        make_spec(tmp_path / "trimmed", steps)
    assert [p.place for p in refused.value.problems] == ["/steps/1/augmentation/model"]
