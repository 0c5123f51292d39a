"""A harbour office's inbox: messages by a small grammar, labelled with what is asked for.

What is asked for is one of three actions on one of three things. No word gives it away: most messages name two actions
or two things, and only the order, a `not` or a `before` tells which of them counts.
"""

import csv
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

Row = tuple[str, str]
"""Text and label."""

ACTIONS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "book": (("book", "reserve", "order", "arrange"), ("booked", "reserved", "ordered", "arranged")),
    "cancel": (("cancel", "scrap", "drop", "revoke"), ("cancelled", "scrapped", "dropped", "revoked")),
    "move": (("move", "postpone", "reschedule", "shift"), ("moved", "postponed", "rescheduled", "shifted")),
}
"""The forms that command an action and those that report it."""

THINGS: dict[str, Sequence[str]] = {
    "berth": ("berth", "mooring", "slot at the quay", "place at the pier"),
    "tow": ("tow", "tug", "pilot boat", "towing crew"),
    "repair": ("repair", "hull work", "carpenter", "rigging check"),
}

LABELS = tuple(f"{action}_{thing}" for action in ACTIONS for thing in THINGS)

PATTERNS = (
    "{do} the {thing}, not the {other_thing}",
    "not the {other_thing}, {do} the {thing}",
    "do not {other_do} the {thing}, {do} it",
    "{do} the {thing} and do not {other_do} it",
    "i said {other_do} the {thing} but i meant {do} it",
    "{do} the {thing}, the {other_thing} is {other_done} already",
    "the {other_thing} is {other_done} already, now {do} the {thing}",
    "{do} the {thing} before you {other_do} the {other_thing}",
    "before you {other_do} the {other_thing}, {do} the {thing}",
    "the {thing} should be {done}, the {other_thing} never",
    "{do} the {thing} or {other_do} the {other_thing}? the former",
    "{other_do} the {other_thing} or {do} the {thing}? the latter",
    "you may {do} the {thing} or {other_do} the {other_thing}, the first is right",
    "you may {other_do} the {other_thing} or {do} the {thing}, the second is right",
    "the {thing} and the {other_thing}: {do} the former, {other_do} the latter later",
    "the {other_thing} and the {thing}: {other_do} the former later, {do} the latter",
)
OPENINGS = (
    "",
    "please ",
    "hello, ",
    "good morning, ",
    "hi, ",
    "dear harbour office, ",
    "captain here: ",
    "quick one: ",
)
BOATS = (
    "the Argo",
    "the Marigold",
    "the Heron",
    "our ketch",
    "my old cutter",
    "the ferry",
    "boat seven",
    "the Swan",
)
TIMES = (
    "on Monday",
    "tomorrow",
    "this evening",
    "next week",
    "at noon",
    "for the weekend",
    "after the storm",
)
CLOSINGS = ("", "", ", thanks", ", it is urgent", ", sorry for the trouble", ", no need to call back")


def generate(rows: int, seed: int) -> list[Row]:
    """Different messages, as many of each label as of any other."""
    random_source = random.Random(seed)
    labels: dict[str, str] = {}
    while len(labels) < rows:
        label = LABELS[len(labels) % len(LABELS)]
        action, thing = label.split("_")
        labels.setdefault(_message(action, thing, random_source), label)
    messages = list(labels.items())
    random_source.shuffle(messages)
    return messages


def write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _message(action: str, thing: str, random_source: random.Random) -> str:
    pick = random_source.choice
    other_action = pick([a for a in ACTIONS if a != action])
    other_thing = pick([t for t in THINGS if t != thing])
    request = pick(PATTERNS).format(
        do=pick(ACTIONS[action][0]),
        done=pick(ACTIONS[action][1]),
        thing=pick(THINGS[thing]),
        other_do=pick(ACTIONS[other_action][0]),
        other_done=pick(ACTIONS[other_action][1]),
        other_thing=pick(THINGS[other_thing]),
    )
    return f"{pick(OPENINGS)}{request} for {pick(BOATS)} {pick(TIMES)}{pick(CLOSINGS)}"


def best_keyword_accuracy(train: Sequence[Row], validation: Sequence[Row]) -> float:
    """How far a rule gets that judges a message by its one most telling word."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text, label in train:
        for word in set(text.split()):
            counts[word][label] += 1
    verdicts = {word: labels.most_common(1)[0] for word, labels in counts.items()}
    certainty = {word: hits / counts[word].total() for word, (_, hits) in verdicts.items()}
    right = 0
    for text, label in validation:
        known = [word for word in text.split() if word in verdicts]
        right += bool(known) and verdicts[max(known, key=certainty.__getitem__)][0] == label
    return right / len(validation)
