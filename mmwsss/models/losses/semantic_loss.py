"""Losses of semantic learning: the encoder's own, and those that its knowledge of the classes gives to activation maps.

Everywhere K = C + 1 categories, the background first. The similarity of an image to a category is the cosine between
the embedding that the encoder finds for the category in the image and the category's learned semantics; both are
rectified, so that it lies in [0, 1]. Reconstructed from SLAMs' abstract and SemFormer, see configs/slams/README.md.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.models.losses.global_mean import global_mean
from mmwsss.registry import MODELS

AVERAGES = ('present', 'all')


def present_categories(labels: Tensor) -> Tensor:
    """Puts the background, which is in every image, before image-level labels N x C; returns N x K, 0 or 1."""
    return torch.cat([torch.ones_like(labels[:, :1]), labels], dim=1)


def category_similarity(embeddings: Tensor, semantics: Tensor) -> Tensor:
    """Compares every category's embedding with its semantics.

    Args:
        embeddings: N x K x E.
        semantics: K x E, or N x K x E.

    Returns:
        N x K cosines, float32; 0 for an embedding or semantics of length 0.
    """
    return F.cosine_similarity(embeddings.float(), semantics.float().expand_as(embeddings), dim=-1)


def semantic_cross_entropy(similarity: Tensor, present: Tensor, eps: float = 1e-4) -> Tensor:
    """Binary cross entropy between similarities and the presence of the categories, the mean over both.

    Args:
        similarity: N x K in [0, 1].
        present: N x K, 0 or 1.
        eps: Similarities nearer to 0 or 1 count as that near, and get no gradient.

    Returns:
        A scalar.
    """
    similarity = similarity.float().clamp(eps, 1 - eps)
    return -(present * similarity.log() + (1 - present) * (1 - similarity).log()).mean()


def _own_and_others(similarity: Tensor, category: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Similarity to the own category [P], mean similarity to the other present ones [P], whether there are any [P]."""
    own = similarity.gather(1, category[:, None])[:, 0]
    others = present.to(similarity.dtype).scatter(1, category[:, None], 0)
    count = others.sum(dim=1)
    return own, (others * similarity).sum(dim=1) / count.clamp(min=1), count > 0


def category_foreground(similarity: Tensor, category: Tensor, present: Tensor) -> Tensor:
    """What an image masked by the activation of one category is charged with: it must show that category alone.

    ``1/2 [1 - s_k] + 1/2 mean_j [1 + s_j]``, j the other categories that are present; without any the first half
    alone.

    Args:
        similarity: P x K, of the images ``I * M_k``, one for every pair of an image and a category in it.
        category: int64 [P], k.
        present: P x K, 0 or 1: the categories in the whole image.

    Returns:
        [P].
    """
    own, others, any_others = _own_and_others(similarity, category, present)
    return 0.5 * (1 - own) + 0.5 * (1 + others) * any_others


def category_background(similarity: Tensor, category: Tensor, present: Tensor) -> Tensor:
    """What the rest of an image, without one category, is charged with: it must show the others and not that one.

    ``1/2 mean_j [1 - s_j] + 1/2 [1 + s_k]``, the counterpart of :func:`category_foreground`.

    Args:
        similarity: P x K, of the images ``I * (1 - M_k)``.
        category: int64 [P], k.
        present: P x K, 0 or 1.

    Returns:
        [P].
    """
    own, others, any_others = _own_and_others(similarity, category, present)
    return 0.5 * (1 - others) * any_others + 0.5 * (1 + own)


def activation_regularization(activations: Tensor, present: Tensor, average: str = 'present') -> Tensor:
    """Keeps objects small and the background large: ``mean(M_fg) + 1 - mean(M_bg)``.

    Args:
        activations: N x K x h x w in [0, 1], background first.
        present: N x K, 0 or 1.
        average: M_fg is of the categories in the image, without the background (``'present'``), or of all C
            (``'all'``, SemFormer).

    Returns:
        [N]; without any category in M_fg the second part alone.

    Raises:
        ValueError: For another ``average``.
    """
    if average not in AVERAGES:
        raise ValueError(f'activation_regularization: average is one of {AVERAGES}, got {average!r}')
    area = activations.float().mean(dim=(2, 3))
    foreground = (present if average == 'present' else torch.ones_like(present))[:, 1:].to(area.dtype)
    objects = (foreground * area[:, 1:]).sum(dim=1) / foreground.sum(dim=1).clamp(min=1)
    return objects + 1 - area[:, 0]


def activation_complement(activations: Tensor, present: Tensor) -> Tensor:
    """How far foreground and background are from adding up to 1: mean of ``(M_bg + max_k M_k - 1)^2``.

    Args:
        activations: N x K x h x w in [0, 1], background first.
        present: N x K, 0 or 1; k runs over the categories in the image, without the background.

    Returns:
        [N].
    """
    activations = activations.float()
    objects = activations[:, 1:] * present[:, 1:, None, None].to(activations.dtype)
    return (activations[:, 0] + objects.amax(dim=1) - 1).square().mean(dim=(1, 2))


def activation_consistency(activations: Tensor, others: Tensor, present: Tensor,
                           inside: Tensor | None = None) -> Tensor:
    """Mean absolute difference between the activations of two views of the same images.

    Args:
        activations: N x K x h x w.
        others: N x K x h x w, of the other view, brought to the same geometry.
        present: N x K, 0 or 1: the categories that count.
        inside: N x 1 x h x w, 0 or 1: the pixels that both views show; ``None``: all.

    Returns:
        [N]; 0 where no pixel is inside.
    """
    difference = (activations.float() - others.float()).abs()
    if inside is None:
        difference = difference.mean(dim=(2, 3))
    else:
        inside = inside.to(difference.dtype)
        difference = (inside * difference).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)
    present = present.to(difference.dtype)
    return (present * difference).sum(dim=1) / present.sum(dim=1).clamp(min=1)


@MODELS.register_module()
class SemanticLoss(nn.Module):
    """:func:`semantic_cross_entropy` with a weight.

    Args:
        loss_weight: Factor.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, similarity: Tensor, present: Tensor) -> Tensor:
        """See :func:`semantic_cross_entropy`."""
        return self.loss_weight * semantic_cross_entropy(similarity, present)


class _MeanLoss(nn.Module):
    """Mean of a function's terms over those of all ranks, 0 without any, with a weight."""

    terms: Callable[..., Tensor]  # of a subclass: one for each image, or pair of an image and a category

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, *args: Tensor | None) -> Tensor:
        """Takes what the function takes; returns a scalar."""
        terms = self.terms(*args)
        return self.loss_weight * global_mean(terms.sum(), torch.tensor(len(terms), device=terms.device))


@MODELS.register_module()
class CategoryForegroundLoss(_MeanLoss):
    """Mean of :func:`category_foreground` over all pairs of an image and a category.

    Args:
        loss_weight: Factor.
    """

    terms = staticmethod(category_foreground)


@MODELS.register_module()
class CategoryBackgroundLoss(_MeanLoss):
    """Mean of :func:`category_background` over all pairs of an image and a category.

    Args:
        loss_weight: Factor.
    """

    terms = staticmethod(category_background)


@MODELS.register_module()
class ActivationRegularizationLoss(_MeanLoss):
    """Mean of :func:`activation_regularization` over the images.

    Args:
        loss_weight: Factor; default SemFormer's.
        average: See there.

    Raises:
        ValueError: For an unknown ``average``.
    """

    def __init__(self, loss_weight: float = 0.075, average: str = 'present') -> None:
        super().__init__(loss_weight)
        if average not in AVERAGES:
            raise ValueError(f'ActivationRegularizationLoss: average is one of {AVERAGES}, got {average!r}')
        self.average = average

    def terms(self, activations: Tensor, present: Tensor) -> Tensor:
        """One term for each image."""
        return activation_regularization(activations, present, self.average)


@MODELS.register_module()
class ActivationComplementLoss(_MeanLoss):
    """Mean of :func:`activation_complement` over the images, a consistency of foreground and background.

    Args:
        loss_weight: Factor.
    """

    terms = staticmethod(activation_complement)


@MODELS.register_module()
class ActivationConsistencyLoss(_MeanLoss):
    """Mean of :func:`activation_consistency` over the images.

    Args:
        loss_weight: Factor.
    """

    terms = staticmethod(activation_consistency)
