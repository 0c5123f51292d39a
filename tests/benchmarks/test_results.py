import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.methods import row_of
from benchmarks.results import RESULTS, Chart, Target, amend, read, record, repeating
from benchmarks.runs import Figures
from compression.registry import METHODS


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        (Target(what="speed", measured=35.0, at_least=35), True),
        (Target(what="speed", measured=34.9, at_least=35), False),
        (Target(what="memory", measured=0.5, at_most=0.5), True),
        (Target(what="memory", measured=0.51, at_most=0.5), False),
        (Target(what="difference", measured=-0.01, at_least=-0.02), True),
        (Target(what="speed", measured=None, at_least=1), False),
    ],
)
def test_a_target_is_reached_at_its_bound(target: Target, reached: bool) -> None:
    assert target.reached is reached


def test_parts_are_added_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["theseus.py", "--steps", "10"])
    for name, value in (("first", 1), ("second", 2), ("first", 3)):
        with record("theseus", name, f"The {name}", tmp_path) as draft:
            draft.rows.append({"value": value})
    parts = read(tmp_path / "theseus.json")
    assert {name: part.rows for name, part in parts.items()} == {
        "first": [{"value": 3}],
        "second": [{"value": 2}],
    }
    assert parts["first"].command == "python -m benchmarks.theseus --steps 10"
    assert parts["first"].machine.cores > 0


def test_rows_that_are_measured_later_take_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["claims.py"])
    with record("claims", "sst2", "Claims", tmp_path) as draft:
        draft.rows += [
            {"method": name, "speed": 1, "kept": kept} for name, kept in (("a", 0.9), ("b", 0.8), ("c", 0.7))
        ]
        draft.notes.append("2 seeds")
        draft.chart = Chart(x="speed", y="kept", names="method")
    for names, kept in ((["b", "c"], 0.95), (["b", "d"], 0.85)):
        monkeypatch.setattr(sys, "argv", ["claims.py", "--methods", *names])
        with amend("claims", "sst2", tmp_path) as draft:
            draft.rows += [{"method": name, "speed": 1, "kept": kept} for name in names]
    part = read(tmp_path / "claims.json")["sst2"]
    found = [(row["method"], row["kept"]) for row in part.rows]
    assert found == [("c", 0.95), ("a", 0.9), ("b", 0.85), ("d", 0.85)]
    assert part.command == "python -m benchmarks.claims"
    assert part.notes == ["2 seeds"]
    first, second = part.later
    assert (first.rows, first.command) == (["c"], "python -m benchmarks.claims --methods b c")
    assert (second.rows, second.command) == (["b", "d"], "python -m benchmarks.claims --methods b d")
    assert f"- measured later: b; d. `{second.command}`\n" in report.render({"claims-sst2": part})


def test_the_command_that_repeats_names_no_folder_of_the_machine() -> None:
    given = [
        "--only",
        "small",
        "--shared",
        "/here/shared",
        "--results=/here/results",
        "--cache",
        "/tmp/c",
        "--seeds",
        "2",
    ]
    assert repeating("quality", given) == "python -m benchmarks.quality --only small --seeds 2"
    assert repeating("official", ["--code", "/here/code"]) == "python -m benchmarks.official --code code"


def test_a_measurement_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), record("theseus", "first", "The first", tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_each_promise_and_each_table(tmp_path: Path) -> None:
    with record("theseus", "sst2", "Training", tmp_path) as draft:
        draft.rows += [
            {"recipe": "paper | port", "examples/s": 15.26, "accuracy": 0.8},
            {"recipe": "engine", "examples/s": 12345.6, "accuracy": 0.8},
        ]
        draft.targets.append(Target(what="speed", measured=36.2, at_least=35, unit="times"))
        draft.targets.append(Target(what="memory", measured=0.7, at_most=0.5))
        draft.targets.append(Target(what="loss", measured=None, at_least=0))
        draft.notes.append("A note.")
        draft.chart = Chart(x="examples/s", y="accuracy", names="recipe")
    with record("theseus", "mrpc", "Another", tmp_path) as draft:
        draft.targets.append(Target(what="plenty", measured=0.1, at_most=1))
        draft.targets.append(Target(what="narrow", measured=0.95, at_least=0.9))
        draft.targets.append(Target(what="gain", measured=0.5, at_least=0))
    readme, front = tmp_path / "README.md", tmp_path / "FRONT.md"
    front.write_text(f"Before.\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nAfter.\n")
    report.main(results=tmp_path, readme=readme, front=front, cards=tmp_path)
    page = readme.read_text()
    assert [line for line in front.read_text().splitlines() if line.startswith("|")][2:] == [
        "| Training | loss | at least 0 |  | **no** | 1 of 3 |",
        "| Training | memory | at most 0.5 | 0.7 | **no** | 1 of 3 |",
        "| Another | narrow | at least 0.9 | 0.95 | yes | 3 of 3 |",
    ]
    assert front.read_text().startswith("Before.")
    assert front.read_text().endswith("After.\n")
    assert "old" not in front.read_text()
    assert "| Training | speed | at least 35 times | 36.2 times | yes |" in page
    assert "| Training | memory | at most 0.5 | 0.7 | **no** |" in page
    assert r"| paper \| port | 15.26 | 0.8 |" in page
    assert "| engine | 12,346 | 0.8 |" in page
    assert "- A note." in page
    assert "![accuracy over examples/s](pictures/theseus-sst2.svg)" in page
    assert "paper | port</text>" in (tmp_path / "pictures" / "theseus-sst2.svg").read_text()
    assert "cores of" in page


def test_a_card_shows_its_method_beside_its_neighbours_on_every_task(tmp_path: Path) -> None:
    for task, kept in {"sst2": (0.95, 0.97, 0.99), "wnut17": (0.8, 0.7, 0.9)}.items():
        with record("methods", task, f"Methods on {task}", tmp_path) as draft:
            for name, retention in zip(("theseus", "distill", "quantize"), kept, strict=True):
                draft.rows.append(row_of(name, [run_that_kept(retention)] * 2, original=10_000_000))
            draft.notes.append("2 seeds, 250 steps; quantize trains nothing.")
    with amend("methods", "wnut17", tmp_path) as draft:
        draft.rows.append(row_of("quantize", [run_that_kept(0.9)] * 2, original=10_000_000))
    with amend("methods", "sst2", tmp_path) as draft:
        draft.rows.append(row_of("theseus", [run_that_kept(0.95)] * 2, original=10_000_000))
    with record("claims", "schedules", "Claim", tmp_path) as draft:
        draft.rows.append({"schedule": "curriculum", "by seed": "0.9 0.9", "retention": 0.95})
    with amend("claims", "schedules", tmp_path) as draft:
        draft.rows.append({"schedule": "constant", "by seed": "0.9 0.9", "retention": 0.94})
    card = tmp_path / "theseus" / "README.md"
    card.parent.mkdir()
    card.write_text(f"Before.\n{report.MARKS[0]}{report.MARKS[1]}\nAfter.\n")
    (tmp_path / "FRONT.md").write_text("".join(report.MARKS))
    report.main(results=tmp_path, readme=tmp_path / "README.md", front=tmp_path / "FRONT.md", cards=tmp_path)
    text = card.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| sst2")] == [
        "distill",
        "**theseus**",
    ]
    assert (
        "| wnut17 | **theseus** | 0.9000 | 0.7200 ± 0.0000 | 0.800 |  | 2.5 (25 %) | 2.00 | 7 | 2 of 3 |"
        in text
    )
    assert "| 0.950 |  | 2.5 (25 %) | 2.00 |" in text
    assert "- wnut17: 2 seeds, 250 steps\n" in text
    assert "- sst2, measured later: theseus. `python -m benchmarks." in text
    assert "measured later: quantize" not in text
    assert '- theseus: `{"successor_layers": 3}`' in text
    assert "| curriculum | 0.95 |" in text
    assert "- measured later: constant, 0.9 0.9. `python -m benchmarks." in text
    assert "Claim" not in report.measured("distill", report.read_all(tmp_path))


def test_all_methods_stand_at_a_glance_by_what_they_keep_beside_the_average_of_each_task(
    tmp_path: Path,
) -> None:
    """A task on which little can be kept does not put those last that were measured on it."""
    for task, kept in {
        "sst2": {"theseus": 0.95, "distill": 0.98, "share": 0.97},
        "squad": {"theseus": 0.7, "distill": 0.5},
    }.items():
        with record("methods", task, f"Methods on {task}", tmp_path) as draft:
            draft.rows += [
                row_of(name, [run_that_kept(share)] * 2, 10_000_000) for name, share in kept.items()
            ]
    (tmp_path / "FRONT.md").write_text("".join(report.MARKS))
    report.main(results=tmp_path, readme=tmp_path / "README.md", front=tmp_path / "FRONT.md", cards=tmp_path)
    glance = [
        "| method | sst2 | squad | times as fast | bytes |",
        "| --- | --- | --- | --- | --- |",
        "| theseus | 0.950 | 0.700 | 2.0 | 25 % |",
        "| share | 0.970 |  | 2.0 | 25 % |",
        "| distill | 0.980 | 0.500 | 2.0 | 25 % |",
    ]
    for page in ("FRONT.md", "README.md"):
        assert "\n".join(glance) in (tmp_path / page).read_text()


def run_that_kept(retention: float) -> Figures:
    return Figures(
        examples_per_second=1,
        examples_per_second_warm=1,
        training_cpu_seconds=7,
        wall_seconds=1,
        cpu_seconds=1,
        peak_rss_bytes=1,
        before=0.9,
        after=0.9 * retention,
        retention=retention,
        label_loyalty=None,
        probability_loyalty=1,
        bytes=2_500_000,
        latency_ms=1,
        speedup=2,
    )


@pytest.mark.parametrize("page", ["no marks", "".join([*report.MARKS, *report.MARKS]), report.MARKS[0]])
def test_a_page_without_its_two_marks_is_left_alone(tmp_path: Path, page: str) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(ValueError, match="values to unpack"):
        report.put("text", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == page


def test_the_pages_are_those_of_the_result_files() -> None:
    parts = report.read_all(RESULTS)
    for name, svg in report.pictures(parts).items():
        assert (report.README.parent / name).read_text("utf-8") == svg, "run python -m benchmarks.report"
    assert report.README.read_text("utf-8") == report.render(parts), "run python -m benchmarks.report"
    texts = {report.CARDS / name / "README.md": report.measured(name, parts) for name in METHODS}
    for file, text in {report.FRONT: report.front_page(parts), **texts}.items():
        page = file.read_text("utf-8")
        assert page == report.with_measured(page, text), "run python -m benchmarks.report"
