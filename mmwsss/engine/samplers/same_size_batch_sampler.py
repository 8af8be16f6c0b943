"""Batches of images of one size."""
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.dist import broadcast, get_dist_info
from torch.utils.data import Dataset, Sampler

from mmwsss.registry import DATA_SAMPLERS
from mmwsss.utils.errors import UserError
from mmwsss.utils.size_groups import group_by_size


@DATA_SAMPLERS.register_module()
class SameSizeBatchSampler(Sampler):
    """Deals batches of same-sized images to the ranks.

    The batches are formed from the whole data set, in an order that depends on nothing but the sizes, and are
    dealt to the ranks in turn, without padding: every image is in exactly one batch of one rank, and its
    neighbours in the batch are the same for any number of ranks. ::

        test_dataloader = dict(
            batch_size=16, sampler=dict(type='DefaultSampler', shuffle=False),
            batch_sampler=dict(type='SameSizeBatchSampler', max_pixels=16 * 500 * 500), ...)

    Args:
        sampler: A sampler with the data set as ``dataset``, whose ``get_data_info(index)`` gives ``height``
            and ``width``. Nothing else of it is used.
        batch_size: Images in a batch, at most.
        max_pixels: Pixels in a batch, at most; but one image is always a batch.
        skip_existing: ``dict(dir=..., suffix=...)``: leaves out a batch if ``dir``/``stem`` + ``suffix`` exists
            for all its images (``stem`` as given by ``get_data_info``). Batches are formed before, so a run
            that goes on has the same batches and writes the same bytes.

    Raises:
        UserError: If the sampler shuffles, or the data set does not give what is needed.
    """

    def __init__(self, sampler: Sampler, batch_size: int, max_pixels: int | None = None,
                 skip_existing: dict | None = None) -> None:
        if batch_size < 1 or (max_pixels is not None and max_pixels < 1):
            raise UserError(f'batch_size={batch_size}, max_pixels={max_pixels}: give positive numbers')
        if getattr(sampler, 'shuffle', False):
            raise UserError('SameSizeBatchSampler has an order of its own: set sampler.shuffle=False')
        self.sampler = sampler
        self.batch_size = batch_size
        needed = ('height', 'width') + (('stem',) if skip_existing else ())
        infos = _data_infos(sampler.dataset, needed)
        batches = group_by_size([info[:2] for info in infos], batch_size, max_pixels)
        if skip_existing:
            batches = self._without_existing(batches, [info[2] for info in infos], **skip_existing)
        rank, world_size = get_dist_info()
        self.batches = batches[rank::world_size]

    @staticmethod
    def _without_existing(batches: list[list[int]], stems: list[str], dir: str, suffix: str) -> list[list[int]]:
        # Below sub folders too: stems may have slashes. Without a folder there is nothing to find.
        names = {path.relative_to(dir).as_posix() for path in Path(dir).rglob(f'*{suffix}')}
        missing = torch.tensor([any(stems[i] + suffix not in names for i in batch) for batch in batches],
                               dtype=torch.uint8)
        # Another rank may already be writing: all must leave out the same batches.
        broadcast(missing)
        return [batch for batch, keep in zip(batches, missing.tolist()) if keep]

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.batches

    def __len__(self) -> int:
        return len(self.batches)


def _data_infos(dataset: Dataset, keys: tuple[str, ...]) -> list[tuple]:
    infos = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        absent = [key for key in keys if info.get(key) is None]
        if absent:
            raise UserError(f'{type(dataset).__name__} does not tell the {" and ".join(absent)} of '
                            f'{info.get("img_path", f"image {index}")}, which SameSizeBatchSampler needs; '
                            'use a data set of mmwsss, or no batch_sampler and batch_size=1')
        infos.append(tuple(info[key] for key in keys))
    return infos
