"""How the report writes its numbers: one place, so that page and model card say the same."""

from compression.report.schema import Measured

SPACE = "\u00a0"  # no line break between a number and its unit
_MINUS = "\u2212"
_TIMES = "\u00d7"

_AS_PERCENT = ("accuracy", "f1", "f1_micro", "f1_macro", "precision", "recall", "exact_match", "loyalty")
_METRIC_NAMES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "f1_micro": "F1, micro",
    "f1_macro": "F1, macro",
    "precision": "Precision",
    "recall": "Recall",
    "exact_match": "Exact match",
    "pseudo_perplexity": "Pseudo-perplexity",
    "perplexity": "Perplexity",
    "cosine": "Cosine with the original",
    "loyalty": "Agreement with the original",
    "probability_loyalty": "Probability loyalty",
    "mcc": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}
_CURVE_NAMES = {
    "loss": "Training loss",
    "replacing_rate": "Replacing rate",
    "learning_rate": "Learning rate",
}


def metric_name(metric: str) -> str:
    return _METRIC_NAMES.get(metric, metric)


def curve_name(curve: str) -> str:
    """The title of a training curve; `eval.<metric>` is measured on the validation rows while training."""
    if curve.startswith("eval."):
        return f"{metric_name(curve.removeprefix('eval.'))} while training"
    return _CURVE_NAMES.get(curve, curve)


def percent(share: float, digits: int = 1) -> str:
    return f"{_signed(100 * share, digits)}{SPACE}%"


def score(metric: str, value: float) -> str:
    """A metric's value in the unit it is usually quoted in."""
    return percent(value, 2) if metric in _AS_PERCENT else _signed(value, 4)


def interval(metric: str, measured: Measured) -> str:
    """The ends of a metric's interval, in the unit of its score but without the sign of it."""
    low, high = (score(metric, end).removesuffix(f"{SPACE}%") for end in (measured.low, measured.high))
    return f"{low}\u2013{high}"


def score_change(metric: str, before: float, after: float) -> str:
    return _change(metric, after - before) + (f"{SPACE}points" if metric in _AS_PERCENT else "")


def change_interval(metric: str, difference: Measured) -> str:
    """A difference of two scores with its interval, e.g. `−0.57 points (−2.06 to +0.92)`."""
    ends = f"{_change(metric, difference.low)} to {_change(metric, difference.high)}"
    return f"{score_change(metric, 0, difference.value)} ({ends})"


def _change(metric: str, difference: float) -> str:
    if metric in _AS_PERCENT:
        return _signed(100 * difference, 2, plus=True)
    return _signed(difference, 4, plus=True)


def share_interval(measured: Measured) -> str:
    """A share with its interval, e.g. `93.1 % (91.4 to 94.7)`."""
    return f"{percent(measured.value)} ({100 * measured.low:.1f} to {100 * measured.high:.1f})"


def relative_change(before: float, after: float) -> str:
    """`-23.1 %`; a dash where there is nothing to compare with."""
    if before <= 0:
        return "\u2013"
    return f"{_signed(100 * (after / before - 1), 1, plus=True)}{SPACE}%"


def times(ratio: float) -> str:
    return f"{ratio:.2f}{_TIMES}"


def speed_change(before: float, after: float) -> str:
    """How the time of one thing changed, said as speed."""
    if before <= 0 or after <= 0:
        return "\u2013"
    return f"{times(before / after)} faster" if after <= before else f"{times(after / before)} slower"


def count(number: int) -> str:
    return f"{number:,}"


def size(number: int) -> str:
    return _scaled(number, ("bytes", "kB", "MB", "GB", "TB"))


def in_words(number: int) -> str:
    return _scaled(number, ("", "thousand", "million", "billion", "trillion"))


def milliseconds(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}{SPACE}ms"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}{SPACE}h" if hours else "", f"{minutes}{SPACE}min", f"{rest}{SPACE}s")
    return " ".join(part for part in parts if part)


def probability(p_value: float) -> str:
    return f"p{SPACE}<{SPACE}0.001" if p_value < 0.001 else f"p{SPACE}={SPACE}{p_value:.3f}"


def cut(text: str, most: int) -> str:
    """At most that many characters of a text that may be as long as its writer liked."""
    return text if len(text) <= most else f"{text[:most]}\u2026 ({count(len(text))} characters)"


def brief(value: float) -> str:
    """An axis label."""
    return f"{value:.3g}".replace("-", _MINUS)


def _signed(value: float, digits: int, *, plus: bool = False) -> str:
    text = f"{value:+.{digits}f}" if plus else f"{value:.{digits}f}"
    if float(text) == 0:
        return text.lstrip("+-")
    return text.replace("-", _MINUS)


def _scaled(number: int, units: tuple[str, ...]) -> str:
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}{SPACE}{units[unit]}".rstrip(SPACE)
