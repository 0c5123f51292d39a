"""Curves of a job."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, insert, select

from db.models import Metric


def put(connection: Connection, job_id: str, step: int, values: Mapping[str, float]) -> None:
    """Write points, replacing those of an earlier attempt at the same step. The job's row must be locked."""
    connection.execute(
        delete(Metric).where(Metric.job_id == job_id, Metric.name.in_(values), Metric.step == step)
    )
    points = [
        {"job_id": job_id, "name": name, "step": step, "value": value} for name, value in values.items()
    ]
    connection.execute(insert(Metric), points)


def series(
    connection: Connection, job_id: str, *, names: Collection[str] = (), after_step: int = -1
) -> dict[str, list[tuple[int, float]]]:
    """Points `(step, value)` by name, by rising step; of all curves unless `names` picks some."""
    statement = select(Metric.name, Metric.step, Metric.value).where(
        Metric.job_id == job_id, Metric.step > after_step
    )
    if names:
        statement = statement.where(Metric.name.in_(names))
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, step, value in connection.execute(statement.order_by(Metric.name, Metric.step)):
        curves[name].append((step, value))
    return dict(curves)


def clear(connection: Connection, job_id: str) -> None:
    connection.execute(delete(Metric).where(Metric.job_id == job_id))
