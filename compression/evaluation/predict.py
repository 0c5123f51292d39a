"""Logits of a model for every row of a split."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from compression.data.batches import evaluation_batches
from compression.data.encoding import Encoded


def predict(
    model: PreTrainedModel,
    data: Encoded,
    between_batches: Callable[[], None],
    dtype: torch.dtype = torch.float32,
) -> npt.NDArray[np.float32]:
    """Logits (N, C) in row order.

    `between_batches` is called after each batch and may raise to stop. `dtype` is the type that matrix products are
    computed in; results that a report shows are computed in float32.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits = np.empty((len(data), int(model.config.num_labels or 0)), dtype=np.float32)
    with torch.inference_mode():
        for batch in evaluation_batches(data, device):
            logits[batch.rows] = model(**batch.inputs).logits.float().cpu().numpy()
            between_batches()
    model.train(was_training)
    return logits
