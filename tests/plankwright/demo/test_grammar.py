import csv
from collections import Counter
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from plankwright.demo.grammar import LABELS, Row, best_keyword_accuracy, generate, write_csv


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return generate(3000, seed=1)


def test_messages_are_all_different_evenly_labelled_and_the_same_every_time(rows: list[Row]) -> None:
    assert len(LABELS) >= 6
    assert len({text for text, _ in rows}) == len(rows) == 3000
    counts = Counter(label for _, label in rows)
    assert set(counts) == set(LABELS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert rows == generate(3000, seed=1)
    assert rows != generate(3000, seed=2)


def test_neither_a_keyword_nor_all_words_without_their_order_give_the_label_away(rows: list[Row]) -> None:
    train, validation = rows[500:], rows[:500]
    assert 1 / len(LABELS) < best_keyword_accuracy(train, validation) < 0.35
    words = CountVectorizer(binary=True)
    judge = LogisticRegression(max_iter=500).fit(
        words.fit_transform(t for t, _ in train), [y for _, y in train]
    )
    assert judge.score(words.transform(t for t, _ in validation), [y for _, y in validation]) < 0.6


def test_a_keyword_rule_would_be_found_if_there_were_one() -> None:
    plain = [(f"{label} now {n}", label) for n in range(20) for label in ("stop", "go")]
    assert best_keyword_accuracy(plain[:30], plain[30:]) == 1.0


def test_a_file_holds_the_rows(tmp_path: Path, rows: list[Row]) -> None:
    write_csv(rows[:10], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("text", "label"), *rows[:10]]
