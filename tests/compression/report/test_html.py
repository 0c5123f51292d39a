from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from compression.report.html import render_html
from compression.report.schema import Loyalty, PairedTest, Report
from tests.compression.report.sample import HOSTILE, hostile_report, sample_report

REPORTS = {"plain": sample_report(), "hostile": hostile_report()}


class Parsed(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def regression(report: Report) -> Report:
    """The same as a regression job would report it."""

    def model(before: bool) -> dict[str, object]:
        result = report.before if before else report.after
        metrics = {"pearson": result.metrics["mcc"], "spearman": result.metrics["mcc"]}
        return {"metrics": metrics, "classes": []}

    loyalty = Loyalty(label=None, probability=report.loyalty.probability)
    return report.model_copy(
        update={
            "metric": "pearson",
            "files": [
                file.model_copy(update={"metrics": model(False)["metrics"], "loyalty": loyalty})
                for file in report.files
            ],
            "before": report.before.model_copy(update=model(True)),
            "after": report.after.model_copy(update=model(False)),
            "paired_test": PairedTest(name="Wilcoxon", p_value=0.0004),
            "loyalty": loyalty,
            "flipped": [],
            "flipped_total": 0,
        }
    )


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_refers_to_nothing_outside_and_runs_nothing(name: str) -> None:
    page = Parsed(render_html(REPORTS[name]))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "a"}
    for _, attributes in page.tags:
        assert not {"src", "href", "srcdoc"} & set(attributes)
        assert not any(key.startswith("on") for key in attributes)


def test_everything_a_user_typed_is_shown_as_typed() -> None:
    text = Parsed(render_html(REPORTS["hostile"])).text
    for typed in HOSTILE:
        if len(typed) < 400:
            assert typed.replace("\r\n", "\n") in text.replace("\r\n", "\n")


def test_very_long_text_is_cut_and_says_so() -> None:
    page = render_html(REPORTS["hostile"])
    assert "w" * 601 not in page
    assert "(5,000 characters)" in page


def test_the_page_tells_the_whole_story() -> None:
    text = Parsed(render_html(sample_report())).text
    for expected in (
        "SST-2 at half depth",
        "99.4\u00a0%",
        "87.23–91.23",
        "−0.57\u00a0points",
        "1 of 2 constraints not met",
        "Of 872 rows, 34 are right only with the original and 29 only with the compressed model.",
        "may well be chance",
        "92.8\u00a0% (90.9 to 94.4)",
        "Training loss",
        "Replacing rate",
        "12 validation rows",
        "63 of 872 rows",
        "AMD EPYC",
        "compress 7\u00a0min 41\u00a0s",
    ):
        assert expected in text


def test_a_regression_has_no_labels_and_no_flipped_rows() -> None:
    text = Parsed(render_html(regression(sample_report()))).text
    assert "Pearson correlation" in text
    assert "p\u00a0<\u00a00.001" in text
    assert "would rarely come from chance alone" in text
    assert "By class" not in text
    assert "Label loyalty" not in text
    assert "Rows they disagree on" not in text


def test_untrained_and_unconstrained_jobs_leave_their_sections_out() -> None:
    bare = sample_report().model_copy(
        update={"curves": {}, "constraints": [], "verdict": "met", "warnings": [], "retention": None}
    )
    text = Parsed(render_html(bare)).text
    assert "No constraints were set" in text
    assert "Training" not in text


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser_nothing_runs_and_nothing_sticks_out(
    browser: Browser, tmp_path: Path, name: str, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_html(REPORTS[name]), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert "pwned" != page.title() != "1"
    assert complaints == []
    assert requests == [file.as_uri()]
    page.close()


def test_sections_have_headings_and_pictures_have_words(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_html(sample_report()), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    assert page.get_by_role("heading", level=1).inner_text() == "SST-2 at half depth"
    assert page.get_by_role("row", name="Accuracy").count() == 1
    for name in ("6 layers before, 3 after", "Training loss: from", "Replacing rate: from 0.301"):
        assert page.get_by_role("img", name=name).count() == 1
    page.close()


def test_answers_that_differ_are_shown_for_tasks_without_classes_too() -> None:
    report = sample_report()
    bare = {which: getattr(report, which).model_copy(update={"classes": []}) for which in ("before", "after")}
    page = render_html(report.model_copy(update=bare))
    assert "Rows they disagree on" in page
    assert "By class" not in page
    assert "Rows they disagree on" not in render_html(regression(report))
