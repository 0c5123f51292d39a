"""Losses that compare two models."""

import torch
from torch.nn import functional


def soft_target_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)) of logits (B, C), mean over rows.

    Hinton, Vinyals, Dean 2015, section 2; the factor keeps gradients of the same size at every temperature. A
    regression's single logit has no softmax: its term is the mean squared difference.
    """
    if student.shape[-1] == 1:
        return functional.mse_loss(student.float(), teacher.float())
    divergence = functional.kl_div(
        functional.log_softmax(student.float() / temperature, dim=-1),
        functional.log_softmax(teacher.float() / temperature, dim=-1),
        reduction="sum",
        log_target=True,
    )
    return divergence / max(len(student), 1) * temperature**2


def masked_mse(
    student: torch.Tensor, teacher: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """Mean squared difference of hidden states (B, L, H) over the word pieces that `attention_mask` (B, L) shows."""
    squared = (student.float() - teacher.float()).square().mean(dim=-1)
    return masked_mean(squared, attention_mask)


def masked_mean(values: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Mean of values (B, L) over the word pieces that are shown; all of them where nothing is padded."""
    if attention_mask is None:
        return values.mean()
    return (values * attention_mask).sum() / attention_mask.sum()
