"""What workers of one test share: settings, database, storage, a tiny model and a dataset."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from compression.checkpoints.inspection import inspect_checkpoint
from compression.data.summary import DatasetSummary
from compression.spec import Plan, Recipe, resolve
from core.settings import Settings
from core.storage import Storage
from db import lifecycle
from db.engine import Database
from db.models import Event, Job, JobState
from db.repositories import datasets, events, jobs, models
from db.repositories.datasets import NewDataset
from db.repositories.models import NewModel

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
MODEL_ID, DATASET_ID = "mdl_1", "ds_1"


class Deed(BaseModel):
    """What a stand-in does at a step of some attempts."""

    step: int
    do: str
    attempts: list[int] = [1]


class Behaviour(BaseModel):
    """How a stand-in for the compression process behaves."""

    steps: int = 4
    seconds_per_step: float = 0.0
    checkpoint_every: int = 1000
    deeds: list[Deed] = []


@dataclass(frozen=True)
class Service:
    settings: Settings
    database: Database
    storage: Storage

    def add_inputs(self, model: Path, dataset: Path) -> None:
        self.storage.put_folder(f"models/{MODEL_ID}", model)
        self.storage.put_folder(f"datasets/{DATASET_ID}", dataset)
        facts = inspect_checkpoint(model).model_dump(mode="json")
        summary = DatasetSummary.model_validate_json((dataset / "dataset.json").read_bytes())
        with self.database.transaction() as connection:
            models.add(connection, NewModel(MODEL_ID, "tiny", "0" * 64, 1, [], facts))
            new = NewDataset(DATASET_ID, "words", "0" * 64, 1, summary.model_dump(mode="json"))
            datasets.add(connection, new)

    def behave(self, behaviour: Behaviour) -> None:
        path = self.storage.path(f"datasets/{DATASET_ID}/behaviour.json")
        path.write_text(behaviour.model_dump_json())

    def add_job(self, *deeds: Deed, epochs: int = 2, batch_sizes: int = 1, **behaviour: Any) -> Job:
        """A job that halves the tiny model in 48 training steps per epoch; a stand-in does the deeds instead.

        The result is timed for a second at each of so many batch sizes.
        """
        self.behave(Behaviour(deeds=list(deeds), **behaviour))
        model, dataset = (
            self.storage.path(f"models/{MODEL_ID}"),
            self.storage.path(f"datasets/{DATASET_ID}"),
        )
        with self.database.transaction() as connection:
            return lifecycle.create_job(
                connection,
                name="half depth",
                model_id=MODEL_ID,
                dataset_id=DATASET_ID,
                plan=plan_for(model, dataset, epochs, batch_sizes).model_dump(mode="json"),
            )

    def job(self, id: str) -> Job:
        with self.database.reading() as connection:
            job = jobs.find(connection, id)
        assert job is not None
        return job

    def events(self, id: str, *types: str) -> list[Event]:
        with self.database.reading() as connection:
            found = events.after(connection, id, 0, 10000)
        return [event for event in found if not types or event.type in types]

    def log(self, id: str) -> str:
        return self.storage.path(f"jobs/{id}/logs.txt").read_text()

    def wait_for_state(self, id: str, states: Sequence[JobState], seconds: float = 60) -> Job:
        wait_until(lambda: self.job(id).state in states, seconds, lambda: f"{self.job(id)}")
        return self.job(id)

    def wait_for_event(self, id: str, type: str, *, count: int = 1, seconds: float = 60) -> None:
        wait_until(lambda: len(self.events(id, type)) >= count, seconds, lambda: f"{self.job(id)}")

    def wait_for_phase(self, id: str, phase: str, seconds: float = 60) -> None:
        wait_until(lambda: self.job(id).phase == phase, seconds, lambda: f"{self.job(id)}")


def plan_for(model: Path, dataset: Path, epochs: int, batch_sizes: int = 1) -> Plan:
    training = {"epochs": epochs, "batch_size": 1, "learning_rate": 1e-3, "evaluations_per_epoch": 1}
    recipe = {
        "steps": [{"method": "theseus", "successor_layers": 2, "training": training}],
        "evaluation": {"latency": {"batch_sizes": [*range(1, batch_sizes + 1)]}},
    }
    summary = DatasetSummary.model_validate_json((dataset / "dataset.json").read_bytes())
    return resolve(Recipe.model_validate(recipe), inspect_checkpoint(model), summary)


def wait_until(true: Callable[[], bool], seconds: float, situation: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {situation()}")
        time.sleep(0.02)
