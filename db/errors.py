"""What the database layer refuses, each with a stable code."""

from typing import ClassVar

from db.models import JobState


class DatabaseRefusal(Exception):
    code: ClassVar[str]


class NotFound(DatabaseRefusal):
    code = "not_found"

    def __init__(self, kind: str, id: str) -> None:
        self.kind = kind
        self.id = id
        super().__init__(f"there is no {kind} {id}")


class InUse(DatabaseRefusal):
    """Jobs that have not ended need what should be deleted."""

    code = "in_use"

    def __init__(self, kind: str, id: str, job_ids: list[str]) -> None:
        self.kind = kind
        self.id = id
        self.job_ids = job_ids
        super().__init__(f"{kind} {id} is in use by {', '.join(job_ids)}: cancel that first")


class IllegalTransition(DatabaseRefusal):
    """The job's state does not allow what was asked."""

    code = "illegal_transition"

    def __init__(self, job_id: str, action: str, state: JobState) -> None:
        self.job_id = job_id
        self.action = action
        self.state = state
        super().__init__(f"cannot {action} job {job_id}: it is {state}")


class Fenced(DatabaseRefusal):
    """The attempt is not the job's current one: whoever runs it has lost the job and must stop."""

    code = "fenced"

    def __init__(self, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        super().__init__(f"attempt {attempt} of job {job_id} is no longer the one at work")
