"""Question answering at work: where an answer starts and where it ends, over sliding windows of the context.

Devlin et al. 2019, section 4.2 and 4.3: the score of a span is the sum of both logits; that of no answer is the first
piece's. A window without the answer learns to point there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.special import softmax
from tokenizers import Encoding
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from compression.data.batches import Batch
from compression.data.encoding import ENCODE_CHUNK, Array, Encoded, offsets_of, pad_piece
from compression.errors import InputError, Problem
from compression.evaluation.loyalty import Agreement
from compression.evaluation.onnx_model import OnnxModel
from compression.tasks.behaviour import Behaviour
from compression.tasks.columns import MetricName
from compression.tasks.question_answering.resolution import QUESTION_LENGTH, QuestionAnsweringTask
from compression.tasks.question_answering.scores import exact_match, f1, normalized

BEST = 20
"""Starts and ends of a window that are tried with each other."""
MAX_ANSWER = 30
"""Word pieces of the longest answer."""


@dataclass(frozen=True, slots=True)
class Span:
    """An answer: its characters in the context, and how sure the model is of it."""

    start: int
    end: int
    probability: float


class QuestionAnswering(Behaviour[QuestionAnsweringTask]):
    """An output for each word piece of the context and the first piece of the window: logits (K, 2) of start and end.

    `labels` (K, 2) are 1 at the right pieces. `extra["characters"]` (K, 2) are the places of the pieces in the context.
    """

    def encode(self, tokenizer: PreTrainedTokenizerFast, table: pa.Table) -> Encoded:
        has_answers = {"answers", "answer_starts"} <= set(table.column_names)
        roles = ["question", "context", *(("answers", "answer_starts") if has_answers else ())]
        rows = list(zip(*(table.column(role).to_pylist() for role in roles), strict=True))
        pieces, types, marks, labels, places = [], [], [], [], []
        windows, cut = [], []
        encodings = self._encodings(tokenizer, rows)
        for row, ((encoding, question_is_cut), values) in enumerate(zip(encodings, rows, strict=True)):
            cut.append(question_is_cut)
            span = _first_span(row, *values[1:]) if has_answers else None
            windows.append(1 + len(encoding.overflowing))
            for window in (encoding, *encoding.overflowing):
                mark = np.array([part == 1 for part in window.sequence_ids])
                mark[0] = True
                characters = np.array(window.offsets)[mark]
                characters[0] = 0
                pieces.append(np.array(window.ids, dtype=np.int32))
                types.append(np.array(window.type_ids, dtype=np.int32))
                marks.append(mark)
                places.append(characters)
                labels.append(
                    _labels(characters, span)
                    if has_answers
                    else np.full((len(characters), 2), np.nan, np.float32)
                )
        with_segments = "token_type_ids" in tokenizer.model_input_names
        return Encoded(
            task=self.task,
            table=table,
            pieces=np.concatenate(pieces),
            offsets=offsets_of([len(window) for window in pieces]),
            segments=np.concatenate(types) if with_segments else None,
            labels=np.concatenate(labels),
            outputs=offsets_of([len(window) for window in places]),
            pad_piece=pad_piece(tokenizer),
            cut=np.array(cut, dtype=np.bool_),
            marked=np.concatenate(marks),
            sequences=offsets_of(windows),
            extra={"characters": np.concatenate(places)},
        )

    def _encodings(
        self, tokenizer: PreTrainedTokenizerFast, rows: list[tuple[Any, ...]]
    ) -> Iterator[tuple[Encoding, bool]]:
        """The windows of each row, and whether its question is cut."""
        rust = tokenizer.backend_tokenizer
        rust.no_padding()
        for start in range(0, len(rows), ENCODE_CHUNK):
            chunk = rows[start : start + ENCODE_CHUNK]
            rust.no_truncation()
            questions = rust.encode_batch([row[0] for row in chunk], add_special_tokens=False)
            most = self.task.max_question_length
            cut = [len(question.ids) > most for question in questions]
            texts = [
                row[0][: question.offsets[most - 1][1]] if is_cut else row[0]
                for row, question, is_cut in zip(chunk, questions, cut, strict=True)
            ]
            rust.enable_truncation(self.task.max_length, stride=self.task.doc_stride, strategy="only_second")
            pairs = [(question, row[1]) for question, row in zip(texts, chunk, strict=True)]
            yield from zip(rust.encode_batch(pairs), cut, strict=True)

    def cut_off(self, data: Encoded) -> dict[str, tuple[int, int]]:
        """Of a context nothing is: it is read in windows."""
        return {"questions": (int(data.cut.sum()), len(data.cut))}

    def limit(self, most: int) -> tuple[str, str]:
        longest = self.task.max_question_length
        helps = longest < QUESTION_LENGTH and self.task.max_length < most
        return (
            f"Questions are longer than {longest} word pieces",
            f"A third of task.max_length is for the question, up to {QUESTION_LENGTH} word pieces: "
            + ("raise it." if helps else "ask in fewer words."),
        )

    def logits(self, model: PreTrainedModel | OnnxModel, batch: Batch) -> torch.Tensor:
        output = model(**batch.inputs)
        logits = torch.stack([output.start_logits, output.end_logits], dim=-1)
        return logits[batch.marked]

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy of start and end over the windows (B)."""
        return -(_log_probabilities(logits.float(), batch) * batch.labels).sum() / (2 * len(batch.rows))

    def pull(
        self, logits: torch.Tensor, teacher: torch.Tensor, batch: Batch, temperature: float
    ) -> torch.Tensor:
        """T^2 * KL over the places of a window, mean of start and end."""
        student = _log_probabilities(logits.float() / temperature, batch)
        right = _log_probabilities(teacher.float() / temperature, batch)
        divergence = (right.exp() * (right - student)).sum() / (2 * len(batch.rows))
        return divergence * temperature**2

    def pseudo_labels(self, logits: Array, data: Encoded) -> Array:
        assert data.sequences is not None
        labels = []
        for row in range(data.table.num_rows):
            span = self._span(logits, data, row)
            for window in range(data.sequences[row], data.sequences[row + 1]):
                characters = data.extra["characters"][data.outputs[window] : data.outputs[window + 1]]
                labels.append(_labels(characters, (span.start, span.end) if span.end else None))
        return np.concatenate(labels)

    def labelled(self, logits: Array, data: Encoded) -> Encoded:
        labelled = super().labelled(logits, data)
        if "answers" in data.table.column_names:
            return labelled
        answers = pa.array(
            [[answer] if answer else [] for answer in self._answers(logits, data)], pa.list_(pa.string())
        )
        return replace(labelled, table=data.table.append_column("answers", answers))

    def metric(self, name: MetricName, logits: Array, data: Encoded) -> Callable[[Array], float]:
        golds = data.values_or("answers", [])
        count = exact_match if name == "exact_match" else f1
        values = np.array(
            [count(answer, right) for answer, right in zip(self._answers(logits, data), golds, strict=True)]
        )
        return lambda rows: float(values[rows].mean())

    def verdicts(self, logits: Array, data: Encoded) -> Array:
        golds = data.values_or("answers", [])
        return np.array(
            [
                exact_match(answer, right) > 0
                for answer, right in zip(self._answers(logits, data), golds, strict=True)
            ]
        )

    def agreement(self, before: Array, after: Array, data: Encoded) -> Agreement:
        answers = zip(self._answers(before, data), self._answers(after, data), strict=True)
        same = np.array([float(normalized(old) == normalized(new)) for old, new in answers])
        rows = range(data.table.num_rows)
        close = np.array([_closeness(data.of_row(before, row), data.of_row(after, row)) for row in rows])
        return Agreement(same, close, np.ones(len(rows)))

    def confidence(self, logits: Array, data: Encoded) -> Array:
        return np.array([self._span(logits, data, row).probability for row in range(data.table.num_rows)])

    def answer(self, logits: Array, data: Encoded, row: int) -> Any:
        """The text of the answer; empty where the context holds none."""
        span = self._span(logits, data, row)
        context: str = data.table.column("context")[row].as_py()
        return context[span.start : span.end]

    def _answers(self, logits: Array, data: Encoded) -> list[str]:
        return [self.answer(logits, data, row) for row in range(data.table.num_rows)]

    def _span(self, logits: Array, data: Encoded, row: int) -> Span:
        """The best span of all windows of a row."""
        assert data.sequences is not None
        best, best_score, no_answer = (0, 0), -np.inf, np.inf
        for window in range(data.sequences[row], data.sequences[row + 1]):
            start, end = data.outputs[window], data.outputs[window + 1]
            no_answer = min(no_answer, float(logits[start].sum()))
            first, last, score = _best_span(logits[start + 1 : end])
            if score > best_score:
                places = data.extra["characters"][start + 1 : end]
                best, best_score = (int(places[first, 0]), int(places[last, 1])), score
        if self.task.may_be_unanswered and no_answer >= best_score:
            best, best_score = (0, 0), no_answer
        of_row = data.of_row(logits, row).astype(np.float64)
        total = np.logaddexp.reduce(of_row, axis=0).sum()
        return Span(*best, probability=float(min(1.0, np.exp(best_score - total))))

    def truth(self, data: Encoded, row: int) -> Any:
        return next(iter(data.values_or("answers", [])[row]), "")

    def contrast(self, before: Array, after: Array, data: Encoded, row: int) -> tuple[str, str, str]:
        truth, old, new = super().contrast(before, after, data, row)
        return truth or "no answer", old or "no answer", new or "no answer"

    def texts(self, data: Encoded, row: int) -> tuple[str, str | None]:
        return data.table.column("question")[row].as_py(), data.table.column("context")[row].as_py()


def _first_span(row: int, context: str, answers: list[str], starts: list[str]) -> tuple[int, int] | None:
    """Characters of the first answer, from which a model learns."""
    if not answers:
        return None
    if not starts or not starts[0].isdigit() or not context.startswith(answers[0], int(starts[0])):
        message = (
            f"row {row + 1}: the answer {answers[0][:100]!r} is not in the context where answer_starts says"
        )
        raise InputError(Problem("answer_not_in_context", message, "/task/columns/answer_starts"))
    return int(starts[0]), int(starts[0]) + len(answers[0])


def _labels(characters: Array, span: tuple[int, int] | None) -> Array:
    """1 at the pieces (k, 2) where the answer starts and ends, or at the first where it is not whole in the window."""
    labels = np.zeros((len(characters), 2), dtype=np.float32)
    first = last = 0
    if span is not None and len(characters) > 1:
        begins = np.flatnonzero((characters[1:, 0] <= span[0]) & (characters[1:, 1] > span[0]))
        ends = np.flatnonzero((characters[1:, 0] < span[1]) & (characters[1:, 1] >= span[1]))
        if len(begins) and len(ends) and begins[0] <= ends[-1]:
            first, last = int(begins[0]) + 1, int(ends[-1]) + 1
    labels[first, 0] = labels[last, 1] = 1
    return labels


def _log_probabilities(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Logits (K, 2) as logarithms of the probabilities over the places of each window."""
    assert batch.marked is not None
    windows = logits.new_full((*batch.marked.shape, 2), -torch.inf)
    windows[batch.marked] = logits
    return windows.log_softmax(dim=1)[batch.marked]


def _best_span(logits: Array) -> tuple[int, int, float]:
    """First and last piece and score of the best span of logits (k, 2)."""
    if not len(logits):
        return 0, 0, -np.inf
    starts = np.argsort(-logits[:, 0], kind="stable")[:BEST]
    ends = np.argsort(-logits[:, 1], kind="stable")[:BEST]
    length = ends[None, :] - starts[:, None]
    scores = logits[starts, 0][:, None] + logits[ends, 1][None, :]
    scores = np.where((length >= 0) & (length < MAX_ANSWER), scores, -np.inf)
    start, end = np.unravel_index(scores.argmax(), scores.shape)
    return int(starts[start]), int(ends[end]), float(scores[start, end])


def _closeness(before: Array, after: Array) -> float:
    """1 - sqrt(JSD), base 2, of the distributions of start and end over all places of a row, mean of both."""
    p, q = softmax(before.astype(np.float64), axis=0), softmax(after.astype(np.float64), axis=0)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(p * np.log2(p / middle)) + np.nan_to_num(q * np.log2(q / middle))
    return float((1 - np.sqrt(np.clip(terms.sum(axis=0) / 2, 0, 1))).mean())


BEHAVIOUR = QuestionAnswering
