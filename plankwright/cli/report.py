"""The before/after table of a report, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from plankwright.cli.output import print_table, say

Report = Mapping[str, Any]


def print_report(report: Report) -> None:
    print_table(("", "original", "compressed", "change"), list(_rows(report)))
    if len(report["files"]) > 1:
        batches = [f"batch {latency['batch_size']}" for latency in report["before"]["latency"]]
        print_table(("file", "size", report["metric"], "same answer", *batches), list(_files(report)))
    loyalty = report["loyalty"]["label"]
    if loyalty:
        say(f"Same answer as the original on {loyalty['value']:.1%} of {report['rows']:,} rows.")
    for note in report.get("notes", []):
        say(note)
    for warning in report["warnings"]:
        say(f"Warning: {warning}")
    for constraint in report["constraints"]:
        measured = "not defined" if constraint["measured"] is None else f"{constraint['measured']:.4g}"
        verdict = "met" if constraint["met"] else "NOT MET"
        say(f"{constraint['name']} {constraint['bound']:g}: {measured}, {verdict}")


def _rows(report: Report) -> Iterator[tuple[str, str, str, str]]:
    before, after, metric = report["before"], report["after"], report["metric"]
    kept = "" if report["retention"] is None else f"{report['retention']:.1%} kept"
    yield metric, _score(before["metrics"][metric]), _score(after["metrics"][metric]), kept
    yield "layers", str(before["layers"]), str(after["layers"]), ""
    parameters = [f"{model['parameters']:,}" for model in (before, after)]
    yield "parameters", parameters[0], parameters[1], _change(before, after, "parameters")
    sizes = [f"{model['bytes'] / 1e6:.1f} MB" for model in (before, after)]
    yield "size", sizes[0], sizes[1], _change(before, after, "bytes")
    for old, new in zip(before["latency"], after["latency"], strict=True):
        times = [f"{latency['median_ms']:.2f} ms" for latency in (old, new)]
        faster = f"{old['median_ms'] / new['median_ms']:.2f}x as fast"
        yield f"latency, batch {old['batch_size']}", times[0], times[1], faster


def _files(report: Report) -> Iterator[tuple[str, ...]]:
    """A row for each file of the result, with its speed beside the original's."""
    for file in report["files"]:
        same = file["loyalty"]["label"]
        times = [
            f"{now['median_ms']:.2f} ms, {old['median_ms'] / now['median_ms']:.2f}x"
            for old, now in zip(report["before"]["latency"], file["latency"], strict=True)
        ]
        size, score = f"{file['bytes'] / 1e6:.1f} MB", f"{file['metrics'][report['metric']]['value']:.4f}"
        yield file["name"], size, score, f"{same['value']:.1%}" if same else "", *times


def _score(measured: Mapping[str, float]) -> str:
    return f"{measured['value']:.4f} ({measured['low']:.3f}–{measured['high']:.3f})"


def _change(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> str:
    return f"{after[name] / before[name] - 1:+.1%}"
