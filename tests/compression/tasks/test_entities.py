"""Entities beside the package that everybody counts them with."""

from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from compression.tasks.token_classification.entities import entities

TAGS = st.lists(st.sampled_from(["O", *(f"{part}-{kind}" for part in "BIES" for kind in ("a", "b-c"))]))


@given(TAGS)
def test_entities_are_those_of_seqeval(tags: list[str]) -> None:
    assert list(entities(tags)) == get_entities(tags)


def test_bilou_is_another_spelling() -> None:
    assert list(entities(["B-a", "L-a", "U-a", "U-a", "O"])) == [("a", 0, 1), ("a", 2, 2), ("a", 3, 3)]
