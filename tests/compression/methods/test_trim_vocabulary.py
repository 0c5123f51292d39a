"""Trimmed tokenizers of every kind encode what they know as before, and spell what they do not know."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from compression.architectures import anatomy_for
from compression.checkpoints.facts import Architecture, ModelFacts
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_tokenizer, open_source
from compression.checkpoints.word_pieces import Vocabulary
from compression.data.ingest import SUMMARY_FILE
from compression.data.summary import DatasetSummary
from compression.errors import InputError
from compression.spec import Recipe, resolve
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec, run_to_end

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def corpus(seed: int, rows: int) -> list[str]:
    draw = random.Random(seed)
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(300)]
    return [" ".join(draw.choices(words, k=8)) for _ in range(rows)]


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        corpus(0, 400), trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    )
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    return tokenizer


def byte_pair() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus(0, 400),
        trainers.BpeTrainer(
            vocab_size=600, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        corpus(0, 400),
        trainers.UnigramTrainer(
            vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        ),
    )
    return tokenizer


def trimmed(tokenizer: Tokenizer, texts: list[str], size: int | None = None) -> Tokenizer:
    """With what the texts need, or with `size` entries."""
    vocabulary = Vocabulary(json.loads(tokenizer.to_str()))
    pieces = [piece for row in tokenizer.encode_batch(texts) for piece in row.ids]
    uses = np.bincount(pieces, minlength=len(vocabulary))
    needed = vocabulary._with_parts({token for row in tokenizer.encode_batch(texts) for token in row.tokens})
    required = vocabulary.required(None, all_before_padding=False)
    kept = vocabulary.choose(required, uses, size or len(required | needed))
    result: Tokenizer = Tokenizer.from_str(json.dumps(vocabulary.trimmed(kept)))
    assert result.get_vocab_size() == len(kept)
    return result


@pytest.mark.parametrize("make", [word_piece, byte_pair, unigram])
def test_texts_whose_pieces_stay_are_encoded_as_before(make: Callable[[], Tokenizer]) -> None:
    tokenizer, texts = make(), corpus(0, 20)
    smaller = trimmed(tokenizer, texts)
    assert smaller.get_vocab_size() < 0.9 * tokenizer.get_vocab_size()
    for text in texts:
        assert smaller.encode(text).tokens == tokenizer.encode(text).tokens


@pytest.mark.parametrize("make", [word_piece, byte_pair, unigram])
def test_other_words_are_spelled_in_smaller_pieces(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    smaller = trimmed(tokenizer, corpus(0, 20))
    longer = 0
    for text in corpus(0, 400)[200:]:
        ours, theirs = smaller.encode(text), tokenizer.encode(text)
        assert "<unk>" not in ours.tokens
        assert "".join(ours.tokens).replace("##", "") == "".join(theirs.tokens).replace("##", "")
        longer += len(ours.tokens) > len(theirs.tokens)
    assert longer > 20


def test_merges_lead_to_every_piece_that_stays() -> None:
    smaller = trimmed(byte_pair(), corpus(0, 20), size=400)
    model = json.loads(smaller.to_str())["model"]
    made = {left + right for left, right in model["merges"]}
    assert {token for token in model["vocab"] if len(token) > 1} == made | set(SPECIAL)
    assert set(pre_tokenizers.ByteLevel.alphabet()) < model["vocab"].keys()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "albert", "gpt2"])
def test_what_must_stay_is_known_before_the_job(tmp_path: Path, architecture: Architecture) -> None:
    """The same as the tokenizer at work has, for every kind of vocabulary, and after a step of another share."""
    folder = make_tiny_checkpoint(tmp_path / "m", architecture)
    facts = inspect_checkpoint(folder)
    vocabulary = Vocabulary(json.loads(load_tokenizer(folder).backend_tokenizer.to_str()))
    own = anatomy_for(facts)
    config = json.loads((folder / "config.json").read_text())
    required = vocabulary.required(config["pad_token_id"], all_before_padding=own.positions_after_padding)
    assert (facts.pieces, facts.required_pieces) == (len(vocabulary), len(required))
    smaller = Vocabulary(vocabulary.trimmed(sorted(vocabulary.ids[token] for token in required)))
    assert len(smaller.required(config["pad_token_id"], all_before_padding=False)) == len(required)


@pytest.mark.parametrize("kept", [0.985, 0.9999])
def test_shares_that_fit_are_kept(tmp_path: Path, kept: float) -> None:
    run_to_end(make_spec(tmp_path, [{"method": "trim_vocabulary", "keep_share": kept}]), tmp_path / "out")


def test_what_must_stay_is_told_at_submission_or_else_by_the_run(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "trim_vocabulary", "keep_share": 0.95}] * 2)
    facts = inspect_checkpoint(spec.model)
    assert (facts.vocabulary_size, facts.pieces, facts.required_pieces) == (180, 180, 141)
    summary = DatasetSummary.model_validate_json((spec.dataset / SUMMARY_FILE).read_bytes())
    few, none = (
        {"method": "trim_vocabulary", "keep_share": 0.2},
        {"method": "trim_vocabulary", "keep_share": 0.8},
    )

    def refused(steps: list[dict[str, Any]], model: ModelFacts) -> tuple[str, str]:
        with pytest.raises(InputError) as error:
            resolve(Recipe.model_validate({"steps": steps}), model, summary)
        (problem,) = error.value.problems
        assert problem.code == "vocabulary_size"
        return problem.place, problem.message

    place, message = refused([few], facts)
    assert place == "/steps/0/keep_share"
    assert message.startswith(
        "of 180 entries 141 special tokens and single characters must stay, and 180 can:"
    )
    assert message.endswith("use a share of at least 0.7834")
    assert refused([none, none], facts)[0] == "/steps/1/keep_share"
    padded = facts.model_copy(update={"vocabulary_size": 200})
    assert refused([{**few, "keep_share": 0.99}], padded)[1].endswith("of at least 0.7050 and at most 0.9000")

    unknown = facts.model_copy(update={"pieces": None, "required_pieces": None})
    plan = resolve(Recipe.model_validate({"steps": [few]}), unknown, summary)
    with pytest.raises(InputError, match="of at least") as late:
        run_to_end(spec.model_copy(update={"plan": plan}), tmp_path / "out")
    assert late.value.problems[0].place == "/steps/0/keep_share"


def test_a_tokenizer_that_nobody_understands_yet_is_no_error(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path, layers=1)
    path = folder / "tokenizer.json"
    sound = json.loads(path.read_text())
    wrong: list[dict[str, Any]] = [
        {"post_processor": "x"},
        {"post_processor": {"cls": 5}},
        {"post_processor": {"special_tokens": {"a": {"ids": [[]]}}}},
        {"model": sound["model"] | {"merges": [["a"]]}},
        {"model": sound["model"] | {"vocab": [["a", 1.0]], "unk_id": 7}},
        {"model": sound["model"] | {"continuing_subword_prefix": 5}},
    ]
    for change in wrong:
        path.write_text(json.dumps(sound | change))
        facts = inspect_checkpoint(folder)
        assert (facts.pieces, facts.required_pieces) == (None, None), change


def test_predictions_stay_where_the_pieces_stay_and_later_steps_use_the_new_ones(tmp_path: Path) -> None:
    trim = {"method": "trim_vocabulary", "keep_share": 0.985}
    drop = {"method": "layer_drop", "keep_layers": 1, "recovery": None}
    spec = make_spec(tmp_path, [trim])
    report = run_to_end(spec, tmp_path / "out")
    assert any("do not fit" in warning for warning in report.warnings)
    kept = set(open_source(tmp_path / "out" / "model").tokenizer.vocab)
    dropped = set(open_source(spec.model).tokenizer.vocab) - kept
    assert len(dropped) == 3
    lines = (tmp_path / "out" / "artifacts" / "predictions.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, lines):
        same = np.allclose(row["before"], row["after"], atol=1e-5)
        assert same == dropped.isdisjoint(row["text"].split())

    results = []
    for name, steps in (("trimmed first", [trim, drop]), ("trimmed last", [drop, trim])):
        (tmp_path / name).mkdir()
        run_to_end(make_spec(tmp_path / name, steps), tmp_path / name / "out")
        results.append((tmp_path / name / "out" / "artifacts" / "predictions.jsonl").read_bytes())
    assert results[0] == results[1]
    tokenizer = open_source(tmp_path / "trimmed first" / "out" / "model").tokenizer
    assert len(tokenizer) == 177
