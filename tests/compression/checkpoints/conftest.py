from pathlib import Path
from typing import get_args

import pytest

from compression.checkpoints.facts import Architecture
from tests.checkpoints import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint per architecture, and a BERT in shards; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    checkpoints = {name: make_tiny_checkpoint(folder / name, name) for name in get_args(Architecture)}
    return checkpoints | {"sharded": make_tiny_checkpoint(folder / "sharded", max_shard_size="8KB")}
