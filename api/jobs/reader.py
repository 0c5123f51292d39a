"""Reads for those who poll, wait or listen: one reader for the whole process, however many they are."""

from dataclasses import dataclass

from api.batching import Batched
from api.jobs.schemas import Event, Job
from db.engine import Database
from db.models import TERMINAL_STATES
from db.models import Event as EventRow
from db.models import Job as JobRow
from db.repositories import events, jobs

MAX_RENDERED = 2_000
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Rendered:
    """A job as it is sent."""

    version: int
    """The id of its last event: whatever is shown of a job changes together with an event."""
    terminal: bool
    body: bytes

    @property
    def etag(self) -> str:
        return f'"{self.version}"'


@dataclass(frozen=True, slots=True)
class RenderedEvent:
    id: int
    """Within the job."""
    message: bytes
    """As server-sent event."""


class JobReader:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._rendered: dict[str, Rendered] = {}
        self._jobs = Batched(self._load_jobs)
        self._events = Batched(self._load_events)

    async def job(self, id: str) -> Rendered | None:
        return await self._jobs.get(id)

    async def events_after(self, job_id: str, event_id: int) -> list[RenderedEvent]:
        """The next events of a job, at most EVENTS_AT_ONCE."""
        return await self._events.get((job_id, event_id)) or []

    def _load_jobs(self, ids: list[str]) -> dict[str, Rendered]:
        with self._database.reading() as connection:
            versions = jobs.versions(connection, ids)
            known = {id: self._rendered[id] for id in versions if id in self._rendered}
            current = {id: job for id, job in known.items() if job.version == versions[id]}
            changed = versions.keys() - current.keys()
            fresh = (
                {row.id: _render_job(row) for row in jobs.find_all(connection, changed)} if changed else {}
            )
        if len(self._rendered) > MAX_RENDERED:
            self._rendered.clear()
        self._rendered |= fresh
        return current | fresh

    def _load_events(self, positions: list[tuple[str, int]]) -> dict[tuple[str, int], list[RenderedEvent]]:
        with self._database.reading() as connection:
            return {
                (job_id, after): [
                    _render_event(row) for row in events.after(connection, job_id, after, EVENTS_AT_ONCE)
                ]
                for job_id, after in positions
            }


def _render_job(row: JobRow) -> Rendered:
    body = Job.model_validate(row).model_dump_json(by_alias=True).encode()
    return Rendered(row.last_event_id, row.state in TERMINAL_STATES, body)


def _render_event(row: EventRow) -> RenderedEvent:
    event = Event.model_validate(row)
    return RenderedEvent(
        event.id, f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()
    )
