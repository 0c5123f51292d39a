"""What a job imports by the names in its plan, imported ahead of it: a process that waits has the time."""

from importlib import import_module
from typing import get_args

from compression.architectures import anatomy
from compression.checkpoints.config import CLASSES
from compression.checkpoints.facts import TaskType
from compression.registry import METHODS


def preload() -> None:
    """Import every task, every method and the classes of every architecture."""
    for task in get_args(TaskType):
        import_module(f"compression.tasks.{task.replace('-', '_')}.behaviour")
    for method in METHODS:
        import_module(f"compression.methods.{method}.method")
    for architecture, classes in CLASSES.items():
        for task in classes.values():
            anatomy(architecture, task)
