"""What the data sets have in common: checked files, those that are left out, one random seed per sample."""
import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.logging import print_log

from mmwsss.datasets.layout import (
    IMAGE_EXTENSIONS,
    MAP_EXTENSIONS,
    find_files,
    find_files_anywhere,
    read_split,
)
from mmwsss.datasets.preflight import preflight
from mmwsss.structures.label_file import voc_palette
from mmwsss.structures.mask_values import parse_mask_values
from mmwsss.utils.errors import UserError

MAX_LOGGED = 10
_Value = TypeVar('_Value')
SkippedFile = tuple[str, str]


def on_rank_zero(function: Callable[[], _Value]) -> _Value:
    """Runs a function on rank 0 and gives its result to every rank; all ranks must call it.

    Raises:
        Exception: On every rank what the function raises on rank 0, so that none waits for a result.
    """
    box: list[Any] = [None, None]
    if get_rank() == 0:
        try:
            box = [function(), None]
        except Exception as error:
            box = [None, error]
    broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


@contextlib.contextmanager
def sample_seed(seed: int, epoch: int, index: int) -> Iterator[None]:
    """Seeds ``random``, NumPy and torch's CPU generator from (seed, epoch, index) for the body.

    The states of before come back afterwards: without workers the body runs in the training process, whose own
    random numbers (dropout) must not repeat those of the last sample.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence((seed, epoch, index)).generate_state(3).tolist()
    try:
        random.seed(words[0])
        np.random.seed(words[1])
        torch.default_generator.manual_seed(words[2])  # torch.manual_seed would seed the GPUs as well
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class CheckedDataset(BaseDataset):
    """Images, each with optional mask and saliency map, that are all known to be readable.

    Every file is decoded once before use (see :mod:`mmwsss.datasets.preflight`). What cannot be used is left out,
    listed in :attr:`skipped` and logged. In a distributed run rank 0 does it and all ranks get its list, so
    all ranks must build the data set.

    Args:
        data_root: Folder of the data set.
        classes: Class names for ``metainfo``.
        num_foreground: Number C of foreground classes.
        split: Name of a split, or a ``.txt`` list of images, see :func:`~mmwsss.datasets.layout.read_split`.
            ``None``: all images in ``img_dir``.
        img_dir: Folder of the images, below ``data_root`` or absolute. Images are found by stem with any of
            :data:`~mmwsss.datasets.layout.IMAGE_EXTENSIONS`.
        mask_dir: Folder of ``<stem>.png`` masks, likewise; ``None`` or a folder that is not there: no masks.
        saliency_dir: Folder of ``<stem>.png`` saliency maps, likewise.
        mask_values: What the values or colours in the masks stand for, see
            :func:`mmwsss.structures.label_file.read_label`; ``None``: they are labels.
        require_masks: Leave out images without a usable mask. Otherwise masks are only looked up, not checked.
        require_saliency: Leave out images without a usable saliency map.
        recursive: Look for files in sub folders too. Everything that belongs to an image is named by its stem without
            folder, so two images of one name are an error; of masks and saliency maps, one directly in its folder
            goes before those in sub folders.
        seed: Seeds every sample from (seed, epoch, index), see :meth:`set_epoch`. ``None``: does not.
        filter_cfg: ``dict(min_size=n)`` leaves out images with a side of fewer than n pixels.
        pipeline: Transforms.
        test_mode: Marks a data set for testing, as MMEngine does. It is treated like any other.
        lazy_init: Do not read anything but the class list before :meth:`full_init`.
        indices: Use only the first (negative: last) n images, or those with the given numbers.
        serialize_data: Keep the list as bytes, which workers share.

    Attributes:
        skipped: (path, reason) of every image that was left out. Empty before :meth:`full_init`.
    """

    # Read by mmwsss.config.config: the class list comes from the data root, and the arguments `classes` and
    # `seed` are there.
    RESOLVES_CLASSES = True
    WITH_BACKGROUND = False

    def __init__(self, data_root: str | os.PathLike, *, classes: Sequence[str], num_foreground: int, img_dir: str,
                 split: str | None = None, mask_dir: str | None = None, saliency_dir: str | None = None,
                 mask_values: Mapping[Any, int] | None = None, require_masks: bool = False,
                 require_saliency: bool = False, recursive: bool = False, seed: int | None = None,
                 filter_cfg: dict | None = None, pipeline: Sequence = (), test_mode: bool = False,
                 lazy_init: bool = False, indices: int | Sequence[int] | None = None,
                 serialize_data: bool = True) -> None:
        data_root = os.fspath(data_root)
        if set(filter_cfg or {}) - {'min_size'}:
            raise UserError(f'filter_cfg: knows only min_size, not {sorted(set(filter_cfg) - {"min_size"})}')
        if seed is not None and seed < 0:
            raise UserError(f'seed: must be 0 or more, not {seed}')
        if indices in (0, [], ()):
            raise UserError(f'indices: {indices} selects no image; give None for all')
        self.num_foreground = num_foreground
        self.split = split
        self.img_dir = os.path.join(data_root, img_dir)
        self.mask_dir = mask_dir and os.path.join(data_root, mask_dir)
        self.saliency_dir = saliency_dir and os.path.join(data_root, saliency_dir)
        self.mask_values = None if mask_values is None else parse_mask_values(mask_values)
        self.require_masks = require_masks
        self.require_saliency = require_saliency
        self.recursive = recursive
        self.seed = seed
        self.skipped: list[SkippedFile] = []
        # Workers hold copies of this object, but share this memory.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        colours = voc_palette(256)
        first = len(classes) == num_foreground  # colour 0 is background's
        palette = [colours[(i + first) % 256] for i in range(len(classes))]
        super().__init__(data_root=data_root, data_prefix={}, metainfo=dict(classes=tuple(classes), palette=palette),
                         filter_cfg=filter_cfg, indices=indices, serialize_data=serialize_data,
                         pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that samples are seeded with, in all worker processes too."""
        self._epoch.fill_(epoch)

    def __getitem__(self, idx: int) -> Any:
        """Runs the pipeline on one image.

        Unlike MMEngine's, it never gives another image in place of one that fails.

        Raises:
            UserError: If a file has become unreadable since it was checked, or if the pipeline gives nothing.
        """
        self.full_init()
        index = range(len(self))[idx]  # negative numbers and IndexError as for any sequence
        info = self.get_data_info(index)
        seeded = contextlib.nullcontext() if self.seed is None else sample_seed(self.seed, int(self._epoch), index)
        try:
            with seeded:
                data = self.pipeline(info)
        except OSError as error:
            raise UserError(f'{info["img_path"]}: cannot be loaded ({error}); it has changed since the data set '
                            'was listed') from error
        if data is None:
            raise UserError(f'{info["img_path"]}: the pipeline gave nothing; take out the transform that drops images')
        return data

    def load_data_list(self) -> list[dict]:
        """Lists and checks the images; see the class.

        Returns:
            One dict per image: ``img_path``, ``stem``, ``height``, ``width``, ``seg_map_path``,
            ``saliency_path`` (str or ``None``), ``label_map=None``, ``reduce_zero_label=False``, ``seg_fields=[]``,
            and ``mask_values`` where they were given.

        Raises:
            UserError: If nothing is left, or a mistake concerns more than one file.
        """
        samples, self.skipped = on_rank_zero(self._list_samples)
        return samples

    def _split_stems(self, images: dict[str, str]) -> list[str]:
        """Returns the stems of the images in the split, of which some may be missing in ``images``."""
        return list(images) if self.split is None else read_split(self.data_root, self.split, self.img_dir)

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        """Adds annotations to the samples and returns those to keep; the others go to ``skipped``."""
        return samples

    def _list_samples(self) -> tuple[list[dict], list[SkippedFile]]:
        skipped: list[SkippedFile] = []
        images = find_files(self.img_dir, IMAGE_EXTENSIONS, self.recursive)
        masks = self._find_maps(self.mask_dir, 'masks', self.require_masks)
        saliency = self._find_maps(self.saliency_dir, 'saliency maps', self.require_saliency)
        stems = self._split_stems(images)
        samples = [dict(img_path=images[stem], stem=stem, seg_map_path=masks.get(stem),
                        saliency_path=saliency.get(stem), label_map=None, reduce_zero_label=False, seg_fields=[],
                        **({} if self.mask_values is None else dict(mask_values=self.mask_values)))
                   for stem in stems if stem in images]
        skipped += [(os.path.join(self.img_dir, stem), 'missing image') for stem in stems if stem not in images]
        samples = self._check(self._annotate(samples, skipped), skipped)
        for path, reason in skipped[:MAX_LOGGED]:
            print_log(f'left out {path}: {reason}', 'current', level=logging.WARNING)
        if len(skipped) > MAX_LOGGED:
            print_log(f'left out {len(skipped) - MAX_LOGGED} more images', 'current', level=logging.WARNING)
        if not samples:
            first = f'; the first: {skipped[0][0]}: {skipped[0][1]}' if skipped else ''
            raise UserError(f'{self.img_dir}: no image is left of {len(skipped)}{first}')
        return samples, skipped

    def _check(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        checks = preflight([s['img_path'] for s in samples],
                           [s['seg_map_path'] for s in samples] if self.require_masks else None,
                           [s['saliency_path'] for s in samples] if self.require_saliency else None,
                           self.num_foreground, self.mask_values)
        min_size = (self.filter_cfg or {}).get('min_size', 0)
        kept = []
        for sample, check in zip(samples, checks):
            if isinstance(check, str):
                skipped.append((sample['img_path'], check))
            elif min(check) < min_size:
                skipped.append((sample['img_path'], f'smaller than min_size={min_size}'))
            else:
                sample['height'], sample['width'] = check
                kept.append(sample)
        return kept

    def _find_maps(self, folder: str | None, what: str, required: bool) -> dict[str, str]:
        if folder is not None and os.path.isdir(folder):
            find = find_files_anywhere if self.recursive else find_files
            return find(folder, MAP_EXTENSIONS)
        if required:
            below = os.path.relpath(folder, self.data_root) if folder else ''
            elsewhere = (f'; there is a folder {below} where the command was started, but a relative folder is meant '
                         'below the data root: give its absolute path') if below and os.path.isdir(below) else ''
            raise UserError(f'{folder or self.data_root}: there are no {what}, but the config requires them; add '
                            f'the folder or do without{elsewhere}')
        return {}

    def _copy_without_annotation(self, memo: dict | None = None) -> 'CheckedDataset':
        other = super()._copy_without_annotation(memo)
        other._epoch = self._epoch.clone().share_memory_()  # a copy of a shared tensor is not shared
        return other
