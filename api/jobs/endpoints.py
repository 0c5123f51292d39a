"""Jobs: create, list, watch, steer."""

import re
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response

from api.batching import next_tick
from api.conditional import is_unchanged
from api.context import Context
from api.dependencies import Cursor, IdempotencyKey, JobId, KeyId, Limit, Shared, context_of, contract_router
from api.idempotency import Repeatable
from api.jobs import service
from api.jobs.reader import Rendered
from api.jobs.schemas import DryRun, Job, JobPage, JobRequest, JobSummary, RetryRequest
from api.json_body import JsonRoute
from api.names import JOB_ID_PATTERN
from api.pages import after_cursor, page_of
from api.problems import Code, problems
from db import lifecycle
from db.models import JobState
from db.repositories import jobs

router = contract_router("/v1/jobs", "jobs", route_class=JsonRoute)

MAX_WAIT_SECONDS = 60
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?:$|[,;])", re.IGNORECASE)
FROM_CHECKPOINT = RetryRequest()
BAD_BODY = problems(Code.MALFORMED_REQUEST, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
STEERED = problems(Code.NOT_FOUND, Code.ILLEGAL_STATE)
CONDITIONS = [
    {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N` holds the answer until the job ends or N seconds pass, at most 60",
        "schema": {"type": "string", "examples": ["wait=30"]},
    },
    {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of an earlier answer: 304 where nothing has changed",
        "schema": {"type": "string"},
    },
]
"""Headers of the one route that is polled: it reads them itself, which takes half the time that FastAPI would take."""


@router.get(
    "/{job_id}",
    response_model=Job,
    responses={304: {"description": "Unchanged"}, **problems(Code.NOT_FOUND)},
    openapi_extra={"parameters": CONDITIONS},
)
async def get_job(job_id: JobId, request: Request) -> Response:
    """One job."""
    context = context_of(request)
    job = await service.existing_job(context, job_id)
    headers = {}
    if wait := WAIT.search(request.headers.get("prefer", "")):
        seconds = min(int(wait[1]), MAX_WAIT_SECONDS)
        job = await _wait_for_end(job, job_id, request, context, seconds)
        headers["Preference-Applied"] = f"wait={seconds}"
    headers["ETag"] = job.etag
    if is_unchanged(request.headers.get("if-none-match"), job.etag):
        return Response(status_code=304, headers=headers)
    return Response(job.body, headers=headers, media_type="application/json")


async def _wait_for_end(
    job: Rendered, job_id: str, request: Request, context: Context, seconds: int
) -> Rendered:
    end = time.monotonic() + seconds
    while not job.terminal and time.monotonic() < end and not await request.is_disconnected():
        await next_tick()
        job = await service.existing_job(context, job_id)
    return job


@router.get("", responses=problems(Code.INVALID_REQUEST))
def list_jobs(
    context: Shared,
    state: Annotated[Sequence[JobState], Query(description="Only jobs in one of these states")] = (),
    cursor: Cursor = None,
    limit: Limit = 50,
) -> JobPage:
    """Jobs, newest first."""
    after = after_cursor(cursor, JOB_ID_PATTERN)
    with context.database.reading() as connection:
        page = jobs.page(connection, states=state, after=after, limit=limit)
    return JobPage(**page_of(page, JobSummary.model_validate))


@router.post(
    "",
    status_code=201,
    response_model=Job,
    responses={
        200: {"model": DryRun, "description": "With `dry_run`: what the job would do. Nothing was created."},
        **BAD_BODY,
        **problems(Code.INVALID_REQUEST, Code.IDEMPOTENCY_KEY_REUSED),
    },
)
def create_job(
    job: JobRequest,
    context: Shared,
    key_id: KeyId,
    idempotency_key: IdempotencyKey = None,
    dry_run: Annotated[
        bool, Query(description="Check everything, settle the plan and estimate, without creating")
    ] = False,
) -> Response:
    """Have a model compressed."""
    if dry_run:
        answer = service.dry_run(context.database, job)
        return Response(answer.model_dump_json(by_alias=True), media_type="application/json")
    return service.create_job(context.database, job, Repeatable(key_id, "create_job", idempotency_key))


@router.post("/{job_id}/start", status_code=202, responses=STEERED)
def start_job(job_id: JobId, context: Shared) -> Job:
    """Queue a held job. Safe to repeat."""
    with context.database.transaction() as connection:
        return Job.model_validate(lifecycle.start(connection, job_id))


@router.post("/{job_id}/cancel", status_code=202, responses=STEERED)
def cancel_job(job_id: JobId, context: Shared) -> Job:
    """Cancel a job: at once where nothing runs, else within seconds. Safe to repeat."""
    with context.database.transaction() as connection:
        return Job.model_validate(lifecycle.cancel(connection, job_id))


@router.post("/{job_id}/retry", status_code=202, responses={**STEERED, **BAD_BODY})
def retry_job(job_id: JobId, context: Shared, retry: RetryRequest = FROM_CHECKPOINT) -> Job:
    """Queue a failed or cancelled job again. Safe to repeat."""
    with context.database.transaction() as connection:
        return Job.model_validate(lifecycle.retry(connection, job_id, from_scratch=retry.source == "scratch"))
