"""`README.md` of a result: the model card that goes with the files."""

import json
import re
import unicodedata

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compression.report import words
from compression.report.comparison import (
    comparison,
    file_rows,
    kept_in_words,
    loyalty_in_words,
    paired_test_in_words,
    verdict_in_words,
)
from compression.report.html import TEMPLATES
from compression.report.schema import Report
from compression.spec import Plan
from compression.tasks.question_answering.behaviour import MAX_ANSWER
from compression.tasks.resolution import Task

_ANYWHERE = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_AT_START = re.compile(r"^(\d*)([#+=\-.)])(?=\s|[#+=\-])")
_DIRECTION_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def render_card(report: Report, plan: Plan) -> str:
    """The model card in Markdown, with how to load the model."""
    cards = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # it is Markdown: `finalize` escapes for that
        finalize=lambda value: value if isinstance(value, Markup) else _escape(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    cards.filters["cut"] = words.cut
    first = report.before.latency[0].batch_size
    steps = json.dumps([step.model_dump(mode="json") for step in plan.steps], indent=2)
    return cards.get_template("card.md").render(
        report=report,
        plan=plan,
        title=words.cut(report.job_name or report.job_id, 200),
        task=report.task.replace("-", " "),
        pipeline=Markup(report.task),
        kept=kept_in_words(report),
        size=words.percent(report.size_ratio),
        speed=words.times(report.speedup[first]),
        rows=words.count(report.rows),
        texts=Markup(_texts(plan.task)),
        use=Markup(_use(plan.task)),
        longest_answer=MAX_ANSWER,
        labels=getattr(plan.task, "label_names", []),
        gives_score=plan.task.type == "text-classification" and plan.task.problem_type == "regression",
        comparison=comparison(report),
        files=file_rows(report),
        onnx=[file.name for file in report.files if file.runtime == "ONNX Runtime"],
        verdict=verdict_in_words(report),
        paired_test=paired_test_in_words(report),
        loyalty=loyalty_in_words(report),
        versions=", ".join(f"{name} {version}" for name, version in report.machine.versions.items()),
        steps=Markup("\n".join(f"    {line}" for line in steps.splitlines())),
    )


def _texts(task: Task) -> str:
    """What a tokenizer takes, in Python: a text, two of them, or one and what belongs to it."""
    if task.type == "question-answering":
        return '"a question", "a text that answers it"'
    if task.type == "sentence-similarity":
        return '["a text", "another text"]'
    return '"one text", "the other"' if task.reads_pairs else '"a text"'


def _use(task: Task) -> str:
    """What a pipeline takes, in Python, where there is one for the task."""
    if task.type == "text-classification":
        text = '{"text": "one text", "text_pair": "the other"}' if task.reads_pairs else '"a text"'
        raw = ', function_to_apply="none"' if task.problem_type == "regression" else ""
        return f"{text}{raw}"
    if task.type == "text-generation":
        return '"a text begins", max_new_tokens=20'
    if task.type == "fill-mask":
        return 'f"a {model.tokenizer.mask_token} text"'
    entities = task.type == "token-classification" and task.scheme == "entities"
    return '"a text", aggregation_strategy="first"' if entities else '"a text"'


def _escape(text: str) -> str:
    """Text that stays text, and stays on its line, wherever in a line of Markdown it stands."""
    shown = (c for c in " ".join(text.split()) if not _controls(c))
    return _AT_START.sub(r"\1\\\2", "".join(shown).translate(_ANYWHERE))


def _controls(character: str) -> bool:
    direction = unicodedata.bidirectional(character) in _DIRECTION_CONTROLS
    return direction or unicodedata.category(character) == "Cc"
