"""Means over all ranks, for losses that are normalised by a count."""
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def global_mean(sums: Tensor, counts: Tensor) -> Tensor:
    """Divides this rank's sums by the counts of all ranks.

    ``world_size * sum / all-reduced count``: the mean over the ranks, which is what DDP makes of gradients, is the mean
    over the whole batch, however its entries are spread over the ranks. (The mean of the ranks' own means is not.)

    Args:
        sums: [K], of this rank.
        counts: [K], int64, the numbers of entries in these sums.

    Returns:
        [K]; 0 where there is no entry on any rank.
    """
    counts = counts.clone()
    all_reduce(counts)
    return get_world_size() * sums / counts.clamp(min=1)
