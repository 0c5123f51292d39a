"""Rows that a model cannot read are refused before it sees them."""

from pathlib import Path

import pytest

from compression.checkpoints.loading import open_source
from compression.errors import InputError
from compression.tasks.encoding import encode_split
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import make_spec


def test_a_token_type_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "layer_drop"}], pairs=True)
    source = open_source(make_tiny_checkpoint(tmp_path / "one-type", type_vocab_size=1))
    with pytest.raises(InputError, match="the model knows 1: leave token_type_ids out") as refused:
        encode_split(source, spec.dataset, "train", spec.plan.task, None)
    assert refused.value.code == "unknown_token_type"
