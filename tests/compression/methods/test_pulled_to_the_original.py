"""Every method with a distillation term learns from the logits of the model that it got, by the weight asked for."""

from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from compression.methods.quantize.rounded import learn_in_groups
from compression.registry import METHODS
from tests.compression.bare import BATCH, TWO_ROWS, context_of, data_of, load
from tests.compression.jobs import METHOD_SETTINGS, TRAINING

STILL = {"batch_size": 2, "epochs": 10, "learning_rate": 1e-12}
"""Ten steps over both rows that change nothing but what a method changes itself."""
FEW_BITS: dict[str, Any] = {
    "scheme": "group-wise",
    "bits": 2,
    "allocation": "uniform",
    "group_size": 16,
    "embedding_bits": 4,
}
FAR_OFF: dict[str, dict[str, Any]] = {"quantize": FEW_BITS, "narrow": {"fitted": False}}
"""Eight bits, or fewer neurons that are fitted, change hardly an answer."""
PULLED = [name for name, params in METHODS.items() if "distillation" in params.model_fields]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    """A model whose answers little changes of its weights change much."""
    folder = tmp_path_factory.mktemp("original")
    model = load(folder, 4, seed=6)
    with torch.no_grad():
        for name, scale in (("bert.pooler.dense.weight", 0.2), ("classifier.weight", 40)):
            model.get_parameter(name).mul_(scale)
        model.get_parameter("classifier.bias").sub_(model(**BATCH.inputs).logits.mean(0))
    return model, folder


def run(original: PreTrainedModel, folder: Path, method: str, weight: float) -> tuple[PreTrainedModel, float]:
    """What the method makes of a model, as it was trained, and the last loss that it had."""
    settings: dict[str, Any] = {
        name: STILL if value is TRAINING else value for name, value in METHOD_SETTINGS[method].items()
    }
    settings |= FAR_OFF.get(method, {})
    params = METHODS[method].model_validate(settings | {"distillation": {"weight": weight, "temperature": 3}})
    context = context_of(folder)
    made = import_module(f"compression.methods.{method}.method").run(
        deepcopy(original), data_of(TWO_ROWS), params, context
    )
    if method == "quantize":
        learn_in_groups(made, context.decisions["bits"], FEW_BITS["group_size"])
    return made, context.curves["loss"][-1][1]


@pytest.mark.parametrize("method", PULLED)
def test_the_weight_moves_the_loss_from_the_tasks_to_the_pull(
    original: tuple[PreTrainedModel, Path], method: str
) -> None:
    """Whatever other terms there are, by 0.5 (T^2 KL - cross-entropy) from a weight of 0.25 to one of 0.75."""
    (_, light), (made, heavy) = (run(*original, method, weight) for weight in (0.25, 0.75))
    with torch.no_grad():
        said, right = (model(**BATCH.inputs).logits for model in (made, original[0]))
        divergence = functional.kl_div(
            (said / 3).log_softmax(-1), (right / 3).softmax(-1), reduction="batchmean"
        )
        own = functional.cross_entropy(said, BATCH.labels)
    assert divergence > 1e-3
    assert heavy - light == pytest.approx(0.5 * float(9 * divergence - own), rel=1e-3)
