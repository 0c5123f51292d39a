"""The examples of the OpenAPI document: one job, told from the upload to the report, with the numbers of a `make demo`.

They are built of the models that answers are built of, and what follows from a request (the plan, the estimate, the
catalogue of methods) is asked of the code that answers: an example cannot be of another form than its schema.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from api.artifacts.schemas import Artifact
from api.datasets.schemas import Dataset, Preview
from api.health import Liveness, Readiness
from api.jobs.estimate import estimate
from api.jobs.schemas import DryRun, Event, Job, JobRequest, JobSummary, RetryRequest, Series
from api.methods import service as methods
from api.models.schemas import Model
from api.names import EXAMPLE_HEX
from compression.checkpoints.facts import ModelFacts
from compression.data.summary import Column, DatasetSummary, Lengths, Split
from compression.report.schema import Report
from compression.spec import resolve
from db.models import JobState
from db.models.event import EventType

MODEL_ID, DATASET_ID, JOB_ID = f"mdl_{EXAMPLE_HEX}", f"ds_{EXAMPLE_HEX}", f"job_{EXAMPLE_HEX}"
RESULT_ID = "mdl_01a1fd9c87527607a102c922e7b3c703"
NAME = "Harbour office at half depth"
SENT = datetime(2026, 11, 21, 10, 16, 59, tzinfo=UTC)
STARTED = datetime(2026, 11, 21, 10, 17, tzinfo=UTC)
FINISHED = datetime(2026, 11, 21, 10, 17, 36, tzinfo=UTC)
WEIGHTS_BYTES = 90_878_732
WEIGHTS_SHA256 = "356c6676d7246647e13cfd416f1970bbe68eb0affe31fc975e6f62fc7408d250"

REPORT = Path(__file__).with_name("report_example.json")
ROWS_BY_LABEL = {
    "book_berth": (279, 55),
    "book_tow": (275, 59),
    "book_repair": (278, 56),
    "cancel_berth": (274, 59),
    "cancel_tow": (291, 42),
    "cancel_repair": (278, 55),
    "move_berth": (277, 56),
    "move_tow": (271, 62),
    "move_repair": (277, 56),
}
"""To learn from, and to measure on."""


def schema_examples() -> dict[str, list[Any]]:
    """Examples by name of the schema. Lists and pages have none of their own: they hold what has."""
    facts, summary, request = _facts(), _summary(), _request()
    plan = resolve(request.recipe(), facts, summary)
    job = _job()
    examples: list[BaseModel] = [
        RetryRequest.model_validate({"from": "scratch"}),
        JobSummary.model_validate(job),
        Job.model_validate(job | {"plan": plan}),
        DryRun(plan=plan, estimate=estimate(plan, facts, summary, request.queue)),
        _event(),
        Series(name="loss", steps=[5, 6, 7], values=[0.639, 0.4081, 1.1629]),
        Report.model_validate_json(REPORT.read_bytes()),
        Artifact(
            name="model.tar",
            size=70_297_600,
            sha256="d131dccc24fa10110a08e7b645642d7d2fb6c1decaaafe78a0dbf5e07f00db7b",
            media_type="application/x-tar",
            created_at=FINISHED,
        ),
        _model(facts),
        _dataset(summary),
        Preview(
            split="train",
            rows=[
                {
                    "text": "captain here: the hull work should be ordered, the tow never for the Swan at noon",
                    "label": "book_repair",
                }
            ],
        ),
        methods.get_method("trim_vocabulary"),
        Liveness(),
        Readiness(ready=True, failing={}),
        Readiness(ready=False, failing={"database": "OperationalError"}),
    ]
    by_schema: dict[str, list[Any]] = {
        # What a user leaves out is left out.
        "JobRequest": [request.model_dump(mode="json", exclude_unset=True)]
    }
    for example in examples:
        content = example.model_dump(mode="json", by_alias=True)
        by_schema.setdefault(type(example).__name__, []).append(content)
    return by_schema


def _request() -> JobRequest:
    return JobRequest.model_validate(
        {
            "name": NAME,
            "model": MODEL_ID,
            "dataset": DATASET_ID,
            "steps": [{"method": "theseus", "successor_layers": 3, "training": {"epochs": 3}}],
            "constraints": {"min_retention": 0.9},
            "seed": 42,
        }
    )


def _facts() -> ModelFacts:
    return ModelFacts(
        architecture="bert",
        task="text-classification",
        problem_type="single_label",
        labels=list(ROWS_BY_LABEL),
        layers=6,
        hidden_size=384,
        attention_heads=12,
        intermediate_size=1536,
        vocabulary_size=30522,
        pieces=30522,
        required_pieces=1999,
        max_length=512,
        token_types=2,
        parameters=22_716_681,
        bytes=WEIGHTS_BYTES,
        dtype="F32",
    )


def _summary() -> DatasetSummary:
    one_word = Lengths(mean=1.0, p50=1, p95=1, p99=1, max=1)

    def split(rows: int, lengths: Lengths, labels: dict[str, int]) -> Split:
        text = Column(name="text", kind="text", empty=0, distinct=None, lengths=lengths)
        label = Column(name="label", kind="text", empty=0, distinct=labels, lengths=one_word)
        return Split(rows=rows, columns=[text, label], duplicates=0)

    learnt, measured = ({label: rows[i] for label, rows in ROWS_BY_LABEL.items()} for i in (0, 1))
    return DatasetSummary(
        splits={
            "train": split(2500, Lengths(mean=19.6012, p50=19, p95=26, p99=28, max=31), learnt),
            "validation": split(500, Lengths(mean=19.794, p50=20, p95=25, p99=28, max=30), measured),
        },
        leaked_rows={"validation": 0},
        warnings=[],
    )


def _model(facts: ModelFacts) -> Model:
    digests = {
        "config.json": (1256, "ae3d613d6dcd57fb8e58ba8d1bbc1e40cdfddaf90781f7ac9684f734b77a602c"),
        "model.safetensors": (WEIGHTS_BYTES, WEIGHTS_SHA256),
        "tokenizer.json": (711551, "f17212c38517cfedc9306b57eeffbaf58c4976fcb42e5a87b405f36a7b9a9eb2"),
        "tokenizer_config.json": (592, "1128dd50ff3f913671a9405619c1bd8f9e9ddc28f62257cb94ed70683590b715"),
    }
    files = [{"name": name, "size": size, "sha256": digest} for name, (size, digest) in digests.items()]
    return Model.model_validate(
        {
            "id": MODEL_ID,
            "name": "harbour office",
            "source_job_id": None,
            "facts": facts,
            "bytes": sum(size for size, _ in digests.values()),
            "sha256": "6ea801f20e0456f0c836a4b70cb84ba1505c49b3e7fd71d987a841d5b2932c2e",
            "files": files,
            "created_at": SENT,
        }
    )


def _dataset(summary: DatasetSummary) -> Dataset:
    return Dataset(
        id=DATASET_ID,
        name="harbour office",
        summary=summary,
        bytes=65354,
        sha256="652e5c787430d88615ccde1cd4c14d424b90869103c3dda0782838689620918d",
        created_at=SENT,
    )


def _job() -> dict[str, Any]:
    """The fields of the row, which the job and its summary are made of."""
    return {
        "id": JOB_ID,
        "name": NAME,
        "state": JobState.SUCCEEDED,
        "phase": "publish",
        "progress": {"step": 237, "total": 237, "fraction": 1.0, "eta_seconds": None},
        "attempt": 1,
        "queue": "cpu",
        "model_id": MODEL_ID,
        "dataset_id": DATASET_ID,
        "result_model_id": RESULT_ID,
        "verdict": "met",
        "result": {"metric": "accuracy", "before": 1.0, "after": 0.98, "retention": 0.98},
        "reason": None,
        "created_at": SENT,
        "started_at": STARTED,
        "finished_at": FINISHED,
    }


def _event() -> Event:
    return Event(
        id=17,
        type=EventType.PROGRESS,
        time=datetime(2026, 11, 21, 10, 17, 9, tzinfo=UTC),
        level="info",
        message="step 8 of 237",
        data={"step": 8, "total": 237, "fraction": 0.03375527426160337, "eta_seconds": 54.2},
    )
