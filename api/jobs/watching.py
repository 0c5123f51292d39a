"""What a job tells while it runs: events, as pages or as a stream, and curves."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from api.batching import next_tick
from api.context import Context
from api.dependencies import JobId, Shared, contract_router
from api.jobs.schemas import Event, EventList, Series, SeriesList
from api.jobs.service import existing_job
from api.problems import ApiError, Code, problems
from db.repositories import events, metrics

router = contract_router("/v1/jobs/{job_id}", "jobs")

MAX_STREAMS = 1000
HEARTBEAT_SECONDS = 15.0
"""Proxies cut connections that are silent for long."""
STREAM_EXAMPLE = """\
: connected

id: 5
event: phase
data: {"id":5,"type":"phase","time":"2026-11-21T10:17:04.308Z","level":"info","message":"load","data":{"phase":"load"}}

"""
CurveName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]


@router.get(
    "/events",
    response_model=EventList,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string", "examples": [STREAM_EXAMPLE]}}}},
        **problems(Code.NOT_FOUND, Code.TOO_MANY_STREAMS),
    },
)
async def list_events(
    job_id: JobId,
    context: Shared,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only events newer than this id")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: Annotated[
        int, Header(ge=0, le=2**31 - 1, description="As `after`, for streams that are taken up again")
    ] = 0,
) -> Response | EventList:
    """Events of a job, oldest first.

    With `Accept: text/event-stream` a stream that goes on until the job has ended; `id` of each message is that of
    the event, so that `Last-Event-ID` takes the stream up where it was cut.
    """
    await existing_job(context, job_id)
    if "text/event-stream" not in accept:
        return await run_in_threadpool(_page, context, job_id, after, limit)
    if context.metrics.open_streams >= MAX_STREAMS:
        detail = f"{MAX_STREAMS} event streams are open: poll, or try again later."
        raise ApiError(Code.TOO_MANY_STREAMS, detail, headers={"Retry-After": "30"})
    stream = _stream(context, job_id, max(after, last_event_id))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _page(context: Context, job_id: str, after: int, limit: int) -> EventList:
    with context.database.reading() as connection:
        rows = events.after(connection, job_id, after, limit + 1)
    data = [Event.model_validate(row) for row in rows[:limit]]
    return EventList(data=data, has_more=len(rows) > limit, last_id=data[-1].id if data else after)


async def _stream(context: Context, job_id: str, after: int) -> AsyncIterator[bytes]:
    with context.metrics.open_stream():
        said = time.monotonic()
        yield b": connected\n\n"
        while True:
            job = await existing_job(context, job_id)
            while job.version > after:
                news = await context.jobs.events_after(job_id, after)
                after = news[-1].id
                said = time.monotonic()
                yield b"".join(event.message for event in news)
            if job.terminal:
                return
            if time.monotonic() - said >= HEARTBEAT_SECONDS:
                said = time.monotonic()
                yield b": alive\n\n"
            await next_tick()


@router.get("/metrics", responses=problems(Code.NOT_FOUND))
async def get_metrics(
    job_id: JobId,
    context: Shared,
    name: Annotated[Sequence[CurveName], Query(description="Only these curves", max_length=50)] = (),
    after_step: Annotated[int, Query(ge=-1, le=2**31 - 1, description="Only points of later steps")] = -1,
) -> SeriesList:
    """What was measured in training: loss, learning_rate, replacing_rate, examples_per_second, eval.*"""
    await existing_job(context, job_id)
    return await run_in_threadpool(_series, context, job_id, name, after_step)


def _series(context: Context, job_id: str, names: Sequence[str], after_step: int) -> SeriesList:
    with context.database.reading() as connection:
        curves = metrics.series(connection, job_id, names=names, after_step=after_step)
    return SeriesList(
        data=[
            Series(name=name, steps=[step for step, _ in points], values=[value for _, value in points])
            for name, points in curves.items()
        ]
    )
