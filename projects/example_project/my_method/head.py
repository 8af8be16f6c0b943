"""A CAM head whose scores lie between the mean and the maximum of its maps."""
import math

import torch
from torch import Tensor

from mmwsss.models import CAMHead
from mmwsss.registry import MODELS


def log_sum_exp_pool(maps: Tensor, r: float) -> Tensor:
    """Pools maps by ``1/r log( mean_p exp(r x_p) )``.

    Args:
        maps: N x C x h x w.
        r: Above 0; towards 0 it is the mean, towards infinity the maximum.

    Returns:
        N x C scores.
    """
    flat = maps.float().flatten(2)
    return (torch.logsumexp(r * flat, dim=2) - math.log(flat.shape[2])) / r


@MODELS.register_module()
class LSECAMHead(CAMHead):
    """:class:`CAMHead` with log-sum-exp pooling.

    Args:
        r: See :func:`log_sum_exp_pool`.
        kwargs: See :class:`CAMHead`.
    """

    def __init__(self, *args, r: float = 4.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.r = r

    def pool(self, maps: Tensor) -> Tensor:
        """Turns class maps N x C x h x w into scores N x C."""
        return log_sum_exp_pool(maps, self.r)
