"""Logits of a model for every output of a split."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from compression.data.batches import evaluation_batches
from compression.data.encoding import Encoded
from compression.evaluation.maps import maps_by_onednn
from compression.evaluation.onnx_model import OnnxModel
from compression.tasks.behaviour import behaviour_of


def predict(
    model: PreTrainedModel | OnnxModel,
    data: Encoded,
    between_batches: Callable[[], None],
    sequences: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float32]:
    """Logits (K, C) of all outputs of the split, as the task keeps them: (N, C) in row order, where each row has one.

    `between_batches` is called after each batch and may raise to stop. Where only some `sequences` are asked for, the
    logits of the others are NaN.
    """
    device = model.device
    was_training = model.training
    model.eval()
    behaviour = behaviour_of(data.task)
    logits: npt.NDArray[np.float32] | None = None
    with torch.inference_mode(), maps_by_onednn(model):
        for batch in evaluation_batches(data, device, sequences):
            part = behaviour.condensed(behaviour.logits(model, batch), batch).float().cpu().numpy()
            if logits is None:
                logits = np.full((int(data.outputs[-1]), part.shape[1]), np.nan, dtype=np.float32)
            logits[batch.outputs] = part
            between_batches()
    model.train(was_training)
    assert logits is not None, "no split is without rows"
    return logits
