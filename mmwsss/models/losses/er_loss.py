"""Equivariant regularisation (ER)."""
from torch import Tensor, nn

from mmwsss.registry import MODELS


def equivariant_regularization(transformed: Tensor, of_transformed: Tensor) -> Tensor:
    """Mean absolute difference of a transformed CAM and the CAM of the transformed image (SEAM, eq. 9).

    Args:
        transformed: N x C x h x w, A(F(I)): the foreground maps of the image, in [0, 1], then transformed.
        of_transformed: N x C x h x w, F(A(I)), in [0, 1].

    Returns:
        A scalar: the mean over all entries. The maps of absent classes are zero in both, and count.
    """
    return (transformed.float() - of_transformed.float()).abs().mean()


@MODELS.register_module()
class ERLoss(nn.Module):
    """:func:`equivariant_regularization` with a weight.

    Args:
        loss_weight: Factor.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, transformed: Tensor, of_transformed: Tensor) -> Tensor:
        """See :func:`equivariant_regularization`."""
        return self.loss_weight * equivariant_regularization(transformed, of_transformed)
