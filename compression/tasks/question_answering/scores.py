"""Exact match and F1 of answers, as SQuAD's official script counts them (Rajpurkar et al. 2016, section 6.1)."""

import re
import string
from collections import Counter

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """Lower case, without punctuation, articles and superfluous white space."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, golds: list[str]) -> float:
    """Whether the answer is one of those that are right; none is right where there are none."""
    return float(any(normalized(answer) == normalized(gold) for gold in golds or [""]))


def f1(answer: str, golds: list[str]) -> float:
    """The best overlap of words with an answer that is right."""
    return max(_overlap(normalized(answer).split(), normalized(gold).split()) for gold in golds or [""])


def _overlap(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    same = sum((Counter(answer) & Counter(gold)).values())
    return 2 * same / (len(answer) + len(gold))
