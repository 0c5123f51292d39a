"""Text classification: one label per row, or one score (regression). Single sentences and pairs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from sklearn import metrics as sklearn_metrics
from torch.nn import functional

from compression.tasks.resolution import FITTING_METRICS, MetricName, Task

Array = npt.NDArray[Any]


def task_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, C) and class ids (B,), or mean squared error of logits (B, 1) and scores (B,)."""
    logits = logits.float()
    if labels.dtype == torch.long:
        return functional.cross_entropy(logits, labels)
    return functional.mse_loss(logits.squeeze(-1), labels)


def predictions(logits: Array, task: Task) -> Array:
    """Class ids (N,) or scores (N,) of logits (N, C)."""
    return logits[:, 0] if task.problem_type == "regression" else logits.argmax(axis=1)


def score(name: MetricName, predicted: Array, labels: Array, task: Task) -> float:
    """One metric of predictions (N,); 0 where it is not defined, e.g. a correlation with a constant."""
    match name:
        case "accuracy":
            return float((predicted == labels).mean())
        case "f1":
            average = "binary" if len(task.label_names) == 2 else "macro"
            return float(sklearn_metrics.f1_score(labels, predicted, average=average, zero_division=0))
        case "mcc":
            return float(sklearn_metrics.matthews_corrcoef(labels, predicted))
        case "pearson" | "spearman":
            if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
                return 0.0
            correlation = stats.pearsonr if name == "pearson" else stats.spearmanr
            return float(correlation(predicted, labels).statistic)


def all_scores(predicted: Array, labels: Array, task: Task) -> dict[str, float]:
    return {name: score(name, predicted, labels, task) for name in FITTING_METRICS[task.problem_type]}


def majority_share(labels: Array) -> float:
    """Accuracy of always naming the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))
