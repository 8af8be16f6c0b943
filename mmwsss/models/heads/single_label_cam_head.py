"""The CAM head of images that show one class."""
import torch.nn.functional as F
from torch import Tensor

from mmwsss.models.heads.cam_head import CAMHead
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@MODELS.register_module()
class SingleLabelCAMHead(CAMHead):
    """A CAM head that is trained with the cross entropy of the softmax over the classes.

    Args:
        restricted_activation: Config of a loss of (class maps, class of each image), such as
            :class:`mmwsss.models.RestrictedActivationLoss` (SPA); ``None``: the cross entropy alone.
        **kwargs: See :class:`mmwsss.models.CAMHead`.
    """

    def __init__(self, restricted_activation: dict | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.restricted_activation = MODELS.build(restricted_activation) if restricted_activation else None

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Computes the cross entropy of class maps N x C x h x w, not rectified; labels are N x C, 1 for one class."""
        return F.cross_entropy(self.pool(maps), class_indices(labels))

    def loss(self, feats: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        """Computes the losses of a batch.

        Args:
            feats: Feature maps as for :meth:`forward`.
            labels: N x C, 1 for one class of each image, else 0.

        Returns:
            ``loss_cls`` and, where it is there, ``loss_restricted``, scalars.
        """
        maps = self(feats)
        losses = dict(loss_cls=self.loss_by_maps(maps, labels))
        if self.restricted_activation is not None:
            losses['loss_restricted'] = self.restricted_activation(maps, class_indices(labels))
        return losses


def class_indices(labels: Tensor) -> Tensor:
    """Turns one-hot labels N x C into the classes, int64 [N].

    Raises:
        UserError: If an image has no class or several.
    """
    if not ((labels > 0).sum(dim=1) == 1).all():
        count = int((labels > 0).sum(dim=1).ne(1).sum())
        raise UserError(f'{count} images of a batch have not exactly one class; a softmax needs images of one class: '
                        'make such a data set with `mmwsss convert localization`')
    return labels.argmax(dim=1)

