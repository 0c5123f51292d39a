"""Entities in the tags of a sentence, as the conlleval script and seqeval's default mode count them."""

from collections.abc import Iterator, Sequence

Entity = tuple[str, int, int]
"""Type, first word, last word."""

SAME_PART = {"L": "E", "U": "S"}
"""BILOU's names for the last word of an entity and for its only one."""


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """The entities of a sentence in tags like `B-person`, of the schemes IOB1, IOB2, IOBES and BILOU.

    Tags that break their scheme are no error: an entity goes on while its type stays the same and no word ends it or
    starts another, and an I without a B before it starts one all the same.
    """
    is_open, kind, start, before = False, "", 0, "O"
    for position, tag in enumerate([*tags, "O"]):
        part, _, type_ = tag.partition("-")
        part = SAME_PART.get(part, part)
        goes_on = is_open and before not in ("E", "S") and part not in ("B", "S", "O") and type_ == kind
        if is_open and not goes_on:
            yield kind, start, position - 1
        if not goes_on:
            is_open, kind, start = part != "O", type_, position
        before = part
