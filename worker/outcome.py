"""What the end of an attempt means for its job."""

import errno
import signal
from collections.abc import Callable

from sqlalchemy import Connection

from compression.errors import ReasonClass
from compression.events import FailedEvent
from db import lifecycle
from db.lifecycle import Loss, Reason
from db.models import Job
from worker.supervisor import Ended, Stop

EXIT_INPUT = 65
EXIT_STOPPED = 75

Outcome = Callable[[Connection], Job]


def outcome_of(ended: Ended, job: Job) -> Outcome:
    """For a process that ended without a result."""
    id, attempt = job.id, job.attempt
    if ended.stop is Stop.CANCEL:
        return lambda c: lifecycle.confirm_cancelled(c, id, attempt)
    if ended.failed is not None:
        return _failure(job, ended.failed)
    if ended.stop is Stop.DRAIN or ended.exit_code == EXIT_STOPPED:
        return lambda c: lifecycle.requeue(c, id, attempt)
    if ended.stop is Stop.STALLED:
        return lambda c: lifecycle.lose(c, id, attempt, Loss.STALLED, Stop.STALLED.value)
    if ended.exit_code == EXIT_INPUT:
        message = "the model or the dataset is at fault; the log says why"
        return _failure(
            job, FailedEvent(code="invalid_input", reason_class=ReasonClass.USER, message=message)
        )
    return lambda c: lifecycle.lose(c, id, attempt, Loss.PROCESS_LOST, _description(ended.exit_code))


def outcome_of_error(error: BaseException, job: Job) -> Outcome:
    """For an error in the worker itself."""
    internal, capacity = ReasonClass.INTERNAL, ReasonClass.CAPACITY
    match error:
        case FileNotFoundError():
            message = f"a file of the model or the dataset is not in the storage: {error.filename}"
            return _failure(job, FailedEvent(code="input_missing", reason_class=internal, message=message))
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            message = "the disk of the worker is full: free some space, then retry"
            return _failure(job, FailedEvent(code="storage_full", reason_class=capacity, message=message))
        case _:
            message = f"the worker failed ({type(error).__name__}: {error})"
            return lambda c: lifecycle.lose(c, job.id, job.attempt, Loss.WORKER_LOST, message)


def _failure(job: Job, failed: FailedEvent) -> Outcome:
    reason: Reason = {"code": failed.code, "class": failed.reason_class.value, "message": failed.message}
    return lambda c: lifecycle.fail(c, job.id, job.attempt, reason)


def _description(exit_code: int) -> str:
    if exit_code >= 0:
        return f"the compression process ended with exit code {exit_code}; the log says why"
    name = signal.Signals(-exit_code).name
    memory = ": the machine may have run out of memory" if -exit_code == signal.SIGKILL else ""
    return f"the compression process was ended by {name}{memory}"
