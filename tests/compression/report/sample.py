"""A report as a real job writes it, in a plain and in a hostile form."""

import math
import random

from compression.report.schema import (
    ClassResult,
    ConstraintResult,
    FileResult,
    FlippedRow,
    Latency,
    Loyalty,
    Machine,
    Measured,
    ModelResult,
    PairedTest,
    Point,
    Report,
)

HOSTILE = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=1">',
    "{{ 7 * 7 }} {% include 'report.css' %}",
    "</style></title><svg onload=document.title='pwned'>",
    "\u202egnissecorp \u0634\u062d\u0646 \u0628\u0637\u064a\u0621",
    "w" * 5000,
    "| `a` | [link](javascript:alert(1)) | # *b* <b> \\ _c_",
    "two\nlines\r\n\r\n# heading",
)


def _model(accuracy: float, layers: int, milliseconds: float) -> ModelResult:
    def near(value: float) -> Measured:
        return Measured(value=value, low=value - 0.021, high=value + 0.019)

    return ModelResult(
        metrics={"accuracy": near(accuracy), "f1": near(accuracy - 0.004), "mcc": near(2 * accuracy - 1)},
        classes=[
            ClassResult(label="negative", rows=428, precision=accuracy, recall=accuracy - 0.02, f1=accuracy - 0.01),
            ClassResult(label="positive", rows=444, precision=accuracy, recall=accuracy + 0.02, f1=accuracy + 0.01),
        ],
        layers=layers,
        hidden_size=384,
        parameters=12_066_050 + layers * 1_774_464,
        embedding_parameters=11_918_208,
        nonzero_parameters=12_066_050 + layers * 1_774_464,
        plain=True,
        bytes=4 * (12_066_050 + layers * 1_774_464),
        flops=layers * 29_000_000,
        latency=[
            Latency(batch_size=batch, sequence_length=18, threads=1, median_ms=slow, p95_ms=1.2 * slow)
            for batch, slow in ((1, milliseconds), (32, 21 * milliseconds))
        ],
        peak_memory_bytes=412_000_000 + layers * 9_000_000,
    )  # fmt: skip


def _file(name: str, accuracy: float, size: int, milliseconds: float) -> FileResult:
    model = _model(accuracy, 3, milliseconds)
    return FileResult(
        name=name,
        runtime="torch" if name == "model.tar" else "ONNX Runtime",
        precision="int8" if "int8" in name else "float32",
        bytes=size,
        metrics=model.metrics,
        loyalty=Loyalty(
            label=Measured(value=0.9278, low=0.9094, high=0.9438),
            probability=Measured(value=0.9012, low=0.8941, high=0.9081),
        ),
        latency=model.latency,
    )


def _curves() -> dict[str, list[Point]]:
    noise = random.Random(7)
    steps = range(1, 1000, 2)
    return {
        "loss": [Point(step=s, value=0.7 * math.exp(-s / 300) + noise.uniform(0.05, 0.3)) for s in steps],
        "replacing_rate": [Point(step=s, value=min(1.0, 0.3 + 0.7 * s / 500)) for s in steps],
        "learning_rate": [Point(step=s, value=1e-4 * (1 - s / 1000)) for s in steps],
        "examples_per_second": [Point(step=s, value=400.0) for s in steps],
        "eval.accuracy": [
            Point(step=s, value=0.887 - 0.3 * math.exp(-s / 200)) for s in range(125, 1001, 125)
        ],
    }


def _flipped(number: int) -> FlippedRow:
    label, before = ("positive", "negative")[:: 1 if number % 3 else -1], "negative"
    return FlippedRow(
        row=17 * number + 3,
        text="a quietly moving look at people who keep a leaking boat afloat , plank by plank , for no good reason",
        text_pair=None,
        label=label[0],
        before=before,
        after="positive",
        before_confidence=0.61,
        after_confidence=0.874,
    )


def sample_report() -> Report:
    return Report(
        job_id="job_019a0000000070008000000000000001",
        job_name="SST-2 at half depth",
        created="2026-11-20T21:04:11Z",
        recipe=["theseus: 6 layers to 3, replacing rate linear from 0.3 to 1 at 50 % of 3 epochs"],
        task="text-classification",
        metric="accuracy",
        split="validation",
        rows=872,
        seed=42,
        before=_model(0.8933, 6, 6.81),
        after=_model(0.8876, 3, 3.52),
        files=[
            _file("model.tar", 0.8876, 69_557_776, 3.52),
            _file("model.onnx", 0.8876, 69_576_891, 1.31),
            _file("model.int8.onnx", 0.8842, 17_630_926, 0.52),
        ],
        retention=0.9936,
        difference=Measured(value=-0.0057, low=-0.0229, high=0.0126),
        size_ratio=0.7657,
        speedup={1: 1.935, 32: 1.96},
        paired_test=PairedTest(
            name="McNemar, exact", p_value=0.5413, only_before_right=34, only_after_right=29
        ),
        loyalty=Loyalty(
            label=Measured(value=0.9278, low=0.9094, high=0.9438),
            probability=Measured(value=0.9012, low=0.8941, high=0.9081),
        ),
        flipped=[_flipped(number) for number in range(1, 31)],
        flipped_total=63,
        curves=_curves(),
        constraints=[
            ConstraintResult(name="min_retention", bound=0.97, measured=0.9936, met=True),
            ConstraintResult(name="max_size_ratio", bound=0.6, measured=0.7657, met=False),
        ],
        verdict="not_met",
        notes=["theseus: validation loss after 40 steps by initialization: module_last 0.41, spread 0.43"],
        warnings=["12 validation rows also stand in train, word for word: the metric is a little too kind."],
        seconds={"load": 1.2, "baseline": 6.4, "compress": 461.0, "export": 0.6, "evaluate": 3.9, "benchmark": 8.1},
        machine=Machine(
            device="cpu",
            cpu="AMD EPYC 9B14",
            cores=2,
            memory_bytes=25_276_502_016,
            versions={"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "onnxruntime": "1.31.1"},
        ),
    )  # fmt: skip


def hostile_report() -> Report:
    """The same with everything that a user types set to something unpleasant."""
    report = sample_report()
    rows = [
        FlippedRow(
            row=n, text=text, text_pair=text, label=text, before=text[:3000], after="positive",
            before_confidence=0.5, after_confidence=1.0,
        )
        for n, text in enumerate(HOSTILE, 1)
    ]  # fmt: skip
    classes = [ClassResult(label=text, rows=1, precision=0.0, recall=1.0, f1=0.5) for text in HOSTILE]
    return report.model_copy(
        update={
            "job_name": " ".join(HOSTILE),
            "recipe": list(HOSTILE),
            "warnings": list(HOSTILE),
            "notes": list(HOSTILE),
            "flipped": rows,
            "before": report.before.model_copy(update={"classes": classes}),
            "after": report.after.model_copy(update={"classes": classes}),
            "curves": {**report.curves, HOSTILE[0]: report.curves["loss"]},
        }
    )
