import re

import pytest
from markdown_it import MarkdownIt

from compression.report.card import render_card
from compression.spec import Plan
from tests.compression.report.sample import HOSTILE, hostile_report, sample_report


def plan(problem_type: str = "single_label", text_pair: str | None = None) -> Plan:
    labels = ["negative", "positive"] if problem_type == "single_label" else ["score"]
    return Plan.model_validate(
        {
            "steps": [{"method": "theseus", "successor_layers": 3}],
            "task": {
                "type": "text-classification",
                "problem_type": problem_type,
                "columns": {"text": "sentence", "text_pair": text_pair, "label": "label"},
                "labels": {},
                "label_names": labels,
                "max_length": 128,
            },
        }
    )


def rendered(card: str) -> str:
    """The card as a site would show it, with raw HTML allowed as on the most careless one."""
    body = card.split("---\n", 2)[2]
    page: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    return page


def test_the_card_says_how_to_load_the_model_and_what_was_measured() -> None:
    card = render_card(sample_report(), plan())
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n")
    assert 'pipeline("text-classification", model=' in card
    assert "Labels: negative, positive." in card
    assert "| Accuracy | 89.33 % (87.23–91.23) | 88.76 % (86.66–90.66) | −0.57 points |" in card
    assert '"successor_layers": 3' in card
    assert rendered(card).count("<table>") == 2


def test_the_example_fits_the_task() -> None:
    assert 'print(model("a text"))' in render_card(sample_report(), plan())
    pair = render_card(sample_report(), plan(text_pair="second"))
    assert '{"text": "one text", "text_pair": "the other"}' in pair
    score = render_card(sample_report(), plan("regression"))
    assert 'function_to_apply="none"' in score
    assert "Labels:" not in score


@pytest.mark.parametrize("plain", [True, False])
def test_the_code_in_the_card_is_python(plain: bool) -> None:
    report = sample_report()
    report = report.model_copy(update={"after": report.after.model_copy(update={"plain": plain})})
    for kind, second in (("single_label", None), ("regression", "b")):
        card = render_card(report, plan(kind, second))
        assert ("plankwright_model.py" in card) == (not plain)
        for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
            compile(code, "README.md", "exec")


@pytest.mark.parametrize("typed", [*HOSTILE, "# heading", "- item", "1. first", "> quote", "=====", "+ x"])
def test_what_a_user_typed_stays_text(typed: str) -> None:
    hostile = hostile_report().model_copy(
        update={"job_name": typed, "recipe": [typed], "warnings": [typed], "notes": [typed]}
    )
    page = rendered(render_card(hostile, plan()))
    plain = rendered(render_card(sample_report(), plan()))
    assert re.findall(r"<(\w+)", page) == re.findall(r"<(\w+)", plain)


def test_direction_controls_do_not_reach_the_card() -> None:
    card = render_card(hostile_report(), plan())
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", card)
