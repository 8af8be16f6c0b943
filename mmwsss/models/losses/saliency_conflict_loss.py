"""The loss of InferCam's last stage: cross entropy with pseudo labels, and with saliency where the two agree."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmwsss.models.losses.conflict_temperature import IGNORE, SALIENT, background_conflict, class_conflict
from mmwsss.models.losses.global_mean import global_mean
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


def labelled_classes(labels: Tensor, num_classes: int, ignore_index: int = IGNORE) -> Tensor:
    """Returns which foreground classes occur in the label of an image: N x (num_classes - 1), bool.

    Args:
        labels: N x H x W, integers, 0 for the background.
        num_classes: Number of classes with the background.
        ignore_index: Label of pixels that show no class.
    """
    shown = labels.new_zeros(len(labels), num_classes, dtype=torch.bool)
    return shown.scatter_(1, labels.where(labels != ignore_index, 0).flatten(1), True)[:, 1:]


def counted_pixels(saliency: Tensor, labels: Tensor, ignore_index: int = IGNORE, on_ignored: bool = False,
                   present_only: bool = False) -> Tensor:
    """Returns which pixels L_sal is taken from: N x H x W, bool.

    Args:
        saliency: N x H x W in [0, 1]; negative in padding, which has none.
        labels: N x H x W.
        ignore_index: Label of pixels to leave out.
        on_ignored: Count these too, but for padding.
        present_only: Count none of an image whose label shows no class.
    """
    counted = saliency >= 0 if on_ignored else labels != ignore_index
    if present_only:
        counted = counted & ((labels != 0) & (labels != ignore_index)).flatten(1).any(dim=1)[:, None, None]
    return counted


def saliency_losses(logits: Tensor, saliency: Tensor, labels: Tensor, ignore_index: int = IGNORE,
                    soft: bool = True, present_only: bool = False) -> Tensor:
    """Computes the terms of L_sal: binary cross entropy between predicted background and saliency (section 3.3).

    ``-(1 - s) log p_0 - s log(1 - p_0)``, p_0 the softmax probability of channel 0 and s the saliency.

    Of pixels that the network cannot tell apart let a share q have one label (object or background), and saliency give
    this label a (the saliency itself, or 1 - saliency). L_seg + w L_sal is least where the network gives it
    (q + w a) / (1 + w): saliency overturns it where q < 1/2 + w (1/2 - a). With labels that agree among themselves
    (q = 1) that takes a weight above 1.

    Args:
        logits: N x C x H x W, C >= 2, channel 0 for the background.
        saliency: N x H x W in [0, 1].
        labels: N x H x W, which say what classes are in the image.
        ignore_index: Label of pixels that show no class.
        soft: Take the saliency as it is; otherwise 1 from 0.5 on and 0 below.
        present_only: A salient pixel is of a class that occurs in the label of the image: in place of the probability
            of all classes, 1 - p_0, stands theirs. With the former, the paper's, a salient pixel raises every class as
            much as it has probability already, also those that are not in the image.

    Returns:
        N x H x W: the terms of all pixels; :func:`counted_pixels` says which count.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    total, objects = logits.logsumexp(dim=1), logits[:, 1:]
    if present_only:
        shown = labelled_classes(labels, logits.shape[1], ignore_index)
        shown = shown | ~shown.any(dim=1, keepdim=True)  # none: not counted, but its gradient must exist
        objects = objects.masked_fill(~shown[:, :, None, None], -torch.inf)
    salient = (saliency.detach() if soft else saliency >= SALIENT).to(logits.dtype)
    # log p_0 and log sum_c p_c, without a probability that could be rounded to 0.
    return (salient - 1) * (logits[:, 0] - total) - salient * (objects.logsumexp(dim=1) - total)


def image_means(values: Tensor, counted: Tensor) -> Tensor:
    """Returns the means over the pixels of each image that count: [N], 0 where none does.

    Args:
        values: N x H x W.
        counted: N x H x W, bool.
    """
    values = values.where(counted, values.new_zeros(()))
    return values.flatten(1).sum(dim=1) / counted.flatten(1).sum(dim=1).clamp(min=1)


def saliency_loss(logits: Tensor, saliency: Tensor, labels: Tensor, ignore_index: int = IGNORE, soft: bool = True,
                  on_ignored: bool = False, present_only: bool = False) -> Tensor:
    """Computes L_sal (section 3.3): the means of :func:`saliency_losses` over the pixels of each image that count.

    Args:
        logits: N x C x H x W, C >= 2, channel 0 for the background.
        saliency: N x H x W in [0, 1].
        labels: N x H x W.
        ignore_index: Label of pixels that do not count.
        soft: See :func:`saliency_losses`.
        on_ignored: See :func:`counted_pixels`.
        present_only: See :func:`saliency_losses`.

    Returns:
        [N], 0 where every pixel is ignored.
    """
    losses = saliency_losses(logits, saliency, labels, ignore_index, soft, present_only)
    return image_means(losses, counted_pixels(saliency, labels, ignore_index, on_ignored, present_only))


@MODELS.register_module()
class SaliencyConflictLoss(nn.Module):
    """L_seg + alpha (e^tau - 1) L_sal (InferCam, section 3.3, eq. 4), as ``loss_decode`` of a decode head.

    See :func:`background_conflict` for the conflict temperature tau and :func:`saliency_loss` for L_sal. With one
    temperature per image every image has its own weight, and the second term is the mean over the images of the batch
    that have a pixel that counts (:func:`counted_pixels`), and one with a label, which their temperature is from. Means
    are those over all ranks.

    A decode head gives its losses no saliency: :class:`~mmwsss.models.SaliencyEncoderDecoder` does, for every head of
    its own, and logs tau. A head's pixel sampler weights L_seg only.

    Args:
        loss_decode: Config of L_seg, which the head's logits, labels and weights go to.
        alpha: Weight of the second term; the paper has 0.08. With 0 the loss is L_seg.
        per_image: One temperature per image, or one per batch.
        per_class: A temperature for the pixels of each class of an image, where the paper has one for all, see
            :func:`class_conflict`: what saliency misses is not made background.
        normalize: Divide both terms of a pixel by the sum of their weights, 1 + alpha (e^tau - 1), where the paper
            adds them. Whether saliency overturns a label stays the same, but pixels count alike, also those of a class
            that saliency misses, and the loss is as large as L_seg at any alpha. ``loss_decode`` must take weights of
            pixels.
        soft: Take saliency as a probability, or as 0 and 1. The temperature is from 0 and 1 in any case.
        on_ignored: Take L_sal also from pixels that the label ignores, where saliency is all there is; for labels of
            confident pixels. The temperature is from labelled pixels in any case. Padding has no saliency
            (``WSSSDataPreProcessor(saliency_pad_val=-1)``).
        present_only: A salient pixel is of a class in the label (of the crop, in a training), where the paper has any
            class. Crops whose label shows no class have no L_sal.
        loss_weight: Factor of the whole, as of an auxiliary head.
        loss_name: Under which the head logs the loss.

    Raises:
        ValueError: If ``alpha`` is negative, if temperatures are to be both per class and per batch, or if MMEngine
            would not train with a loss of this name.
    """

    def __init__(self, loss_decode: dict, alpha: float = 0.08, per_image: bool = True, soft: bool = True,
                 on_ignored: bool = False, present_only: bool = False, per_class: bool = False,
                 normalize: bool = False, loss_weight: float = 1.0, loss_name: str = 'loss_saliency_conflict') -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f'SaliencyConflictLoss: alpha must not be negative, got {alpha}')
        if per_class and not per_image:
            raise ValueError('SaliencyConflictLoss: per_class=True has temperatures of every image; leave '
                             'per_image=True')
        if 'loss' not in loss_name:
            raise ValueError(f'SaliencyConflictLoss: loss_name must hold "loss", since MMEngine adds up what is named '
                             f'so; got {loss_name!r}')
        self.loss_decode = MODELS.build(loss_decode)
        self.alpha = alpha
        self.per_image = per_image
        self.soft = soft
        self.on_ignored = on_ignored
        self.present_only = present_only
        self.per_class = per_class
        self.normalize = normalize
        self.loss_weight = loss_weight
        self._loss_name = loss_name
        self._given: tuple[Tensor, dict[str, Tensor]] | None = None

    @property
    def loss_name(self) -> str:
        """Under which the head logs the loss."""
        return self._loss_name

    @contextmanager
    def using(self, saliency: Tensor) -> Iterator[dict[str, Tensor]]:
        """Gives the loss the saliency of a batch, until the body ends.

        Args:
            saliency: N x H x W in [0, 1], of the size of the labels.

        Yields:
            A dict that calls of the loss in the body fill, for logs, without gradient: ``tau``, the mean over the
            images that have a pixel with label, and ``saliency_ce`` (L_sal), over those in the second term.
        """
        logs: dict[str, Tensor] = {}
        self._given = saliency, logs
        try:
            yield logs
        finally:
            self._given = None

    def forward(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None,
                ignore_index: int = IGNORE) -> Tensor:
        """Computes the loss, in the body of :meth:`using`.

        Args:
            logits: N x C x H x W, C >= 2, channel 0 for the background.
            labels: N x H x W, integers, 0 for the background.
            weight: Weights of the pixels for L_seg.
            ignore_index: Label of pixels to leave out.

        Returns:
            A scalar.

        Raises:
            UserError: If there is no saliency.
            ValueError: If there is one channel only, or the saliency has another size than the labels.
        """
        if self._given is None:
            raise UserError('SaliencyConflictLoss: was given no saliency; set model.type=SaliencyEncoderDecoder, the '
                            'segmentor that passes it on')
        saliency, logs = self._given
        if logits.shape[1] < 2:
            raise ValueError('SaliencyConflictLoss: logits have one channel; give the head out_channels=2, of which '
                             'the first is the background')
        if saliency.shape != labels.shape:
            raise ValueError(f'SaliencyConflictLoss: saliency {list(saliency.shape)} does not fit the labels '
                             f'{list(labels.shape)}; heads that change or sample their labels cannot take this loss')
        tau = background_conflict(labels, saliency, ignore_index, self.per_image)
        losses = saliency_losses(logits, saliency, labels, ignore_index, self.soft, self.present_only)
        counted = counted_pixels(saliency, labels, ignore_index, self.on_ignored, self.present_only)
        images = counted.flatten(1).any(dim=1)
        valid = labels != ignore_index
        labelled = valid.flatten(1).any(dim=1)
        if self.per_image:
            images = images & labelled  # without a label there is no temperature
        loss_sal = image_means(losses.detach(), counted)
        for name, values, which_images in (('tau', tau, labelled), ('saliency_ce', loss_sal, images)):
            logs[name] = (values * which_images).sum() / which_images.sum().clamp(min=1) if values.dim() else values

        temperature = (class_conflict(labels, saliency, tau, logits.shape[1], ignore_index) if self.per_class
                       else tau.view(-1, 1, 1))
        weight_sal = self.alpha * torch.expm1(temperature)
        if self.normalize:
            total = 1 + weight_sal * counted
            weight_sal = weight_sal / total
            weight = 1 / total if weight is None else weight / total
        loss_seg = self.loss_decode(logits, labels, weight=weight, ignore_index=ignore_index)
        if getattr(self.loss_decode, 'avg_non_ignore', False):
            # The mean over this rank's pixels becomes the one over all ranks'.
            loss_seg = global_mean(loss_seg * valid.sum(), valid.sum())
        loss_sal = global_mean(image_means(weight_sal * losses, counted).sum(), images.sum())
        return self.loss_weight * (loss_seg + loss_sal)
