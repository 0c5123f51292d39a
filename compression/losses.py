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
    """Mean of values (B, L) over the word pieces that are shown; all of them where nothing is padded.

    Of the first piece of each row alone where there are no others, (B, 1).
    """
    if attention_mask is None:
        return values.mean()
    shown = attention_mask[:, : values.shape[1]]
    return (values * shown).sum() / shown.sum()


def cosine_loss(
    student: torch.Tensor, teacher: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """1 - cosine of hidden states (B, L, H), mean over the word pieces that are shown (Sanh et al. 2019, section 2)."""
    cosine = functional.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return 1 - masked_mean(cosine, attention_mask)


def patient_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean of ||s / ||s|| - t / ||t|| ||^2 over [CLS] states (B, layers, H) (Sun et al. 2019, equation 7)."""
    difference = functional.normalize(student.float(), dim=-1) - functional.normalize(teacher.float(), dim=-1)
    return difference.square().sum(dim=-1).mean()


def attention_loss(
    student: torch.Tensor, teacher: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """Mean squared difference of attention scores (B, heads, L, L) before the softmax (Jiao et al. 2020, equation 7).

    Over pairs of word pieces that are both shown. Models with other numbers of heads compare the means over them.
    """
    student, teacher = student.float(), teacher.float()
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True)
    squared = (student - teacher).square().mean(dim=1)
    if attention_mask is None:
        return squared.mean()
    return masked_mean(squared, attention_mask[:, :, None] * attention_mask[:, None, :])
