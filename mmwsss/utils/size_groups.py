"""Groups of images of one size."""
from collections.abc import Sequence


def group_by_size(sizes: Sequence[tuple[int, int]], batch_size: int | None = None,
                  max_pixels: int | None = None) -> list[list[int]]:
    """Forms batches of same-sized images.

    Args:
        sizes: (height, width) of each image.
        batch_size: Images in a batch, at most; ``None``: any number.
        max_pixels: Pixels in a batch, at most; but one image is always a batch.

    Returns:
        Batches of indices into ``sizes``, every index once. The largest images come first, so that memory that
        does not suffice shows at once, and neighbouring batches cost about the same.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    batches = []
    for height, width in sorted(groups, key=lambda size: (size[0] * size[1], size), reverse=True):
        count = batch_size or len(sizes)
        if max_pixels is not None:
            count = min(count, max(1, max_pixels // (height * width)))
        indices = groups[height, width]
        batches += [indices[start:start + count] for start in range(0, len(indices), count)]
    return batches
