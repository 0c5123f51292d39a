import pytest

from compression.report import words
from compression.report.comparison import constraint_in_words
from compression.report.schema import ConstraintResult, Measured
from compression.spec import Constraints


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.score("accuracy", 0.8933), "89.33 %"),
        (words.score("mcc", -0.01234), "−0.0123"),
        (words.score_change("accuracy", 0.9, 0.9), "0.00 points"),
        (words.score_change("f1", 0.9, 0.95), "+5.00 points"),
        (
            words.change_interval("f1", Measured(value=-0.0057, low=-0.0206, high=0.0092)),
            "−0.57 points (−2.06 to +0.92)",
        ),
        (
            words.change_interval("mcc", Measured(value=0.01, low=0.0, high=0.02)),
            "+0.0100 (0.0000 to +0.0200)",
        ),
        (words.relative_change(200, 150), "−25.0 %"),
        (words.relative_change(0, 150), "–"),
        (words.speed_change(2.0, 1.0), "2.00× faster"),
        (words.speed_change(1.0, 2.0), "2.00× slower"),
        (words.size(999), "999 bytes"),
        (words.size(999_999), "1.00 MB"),
        (words.size(69_557_768), "69.6 MB"),
        (words.in_words(174_000_000), "174 million"),
        (words.milliseconds(0.345), "0.34 ms"),
        (words.duration(5025), "1 h 23 min 45 s"),
        (words.probability(0.00001), "p < 0.001"),
    ],
)
def test_numbers_are_written_with_their_unit(written: str, expected: str) -> None:
    assert written.replace("\u00a0", " ") == expected


def test_every_constraint_that_can_be_asked_for_has_words() -> None:
    for name in Constraints.model_fields:
        for measured in (0.5, None):
            asked, found = constraint_in_words(
                ConstraintResult(name=name, bound=0.9, measured=measured, met=False)
            )
            assert "0.90×" in asked or "90.0\u00a0%" in asked
            assert found
