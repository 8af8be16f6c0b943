"""Pictures of what a training gets: images, labels and maps after augmentation."""
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample

from mmwsss.config.config import DATALOADERS
from mmwsss.config.seg_options import check_output
from mmwsss.datasets.layout import stem_of
from mmwsss.engine.setup import setup
from mmwsss.registry import DATASETS
from mmwsss.structures.image_file import read_image
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import display_palette, draw_cam, draw_label, fit_image, save_png, side_by_side, write_on

HEIGHT = 160


def browse(cfg: Config, out_file: str | os.PathLike, num_images: int = 12, views: int = 3,
           dataloader: str = 'train_dataloader') -> int:
    """Draws what the pipeline of a config gives to the model, as one picture.

    Every row is an image: as it is in its file, then views of it after the pipeline with its random steps, as the
    epochs of a training see them. Views are named by the image-level labels, or by the classes in their label map,
    which is laid over them; saliency and CAMs beside it are heat.

    Args:
        cfg: A config from :func:`mmwsss.config.config.load_config`.
        out_file: The ``.png`` to write.
        num_images: Images, evenly spread over the data set.
        views: Views of each.
        dataloader: Which data: ``'train_dataloader'``, ``'val_dataloader'`` or ``'test_dataloader'``.

    Returns:
        The number of images that were drawn.

    Raises:
        UserError: If the config has no such data, no image can be used, or ``out_file`` lies in a folder of the data.
    """
    setup()
    if dataloader not in DATALOADERS or not cfg.get(dataloader):
        raise UserError(f'{cfg.filename or "the config"}: has no {dataloader}; name one that it has')
    if Path(out_file).suffix.lower() != '.png':
        raise UserError(f'{out_file}: cannot be written; the picture is a .png file')
    check_output(cfg[dataloader].dataset, Path(out_file).parent)
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    dataset = DATASETS.build(cfg[dataloader].dataset)
    count = min(num_images, len(dataset))
    if count == 0:
        raise UserError(f'{cfg[dataloader].dataset.get("data_root")}: has no image for the {dataloader}')
    names = tuple(dataset.metainfo.get('classes') or ())
    rows, captions = [], []
    for number in range(count):
        index = number * len(dataset) // count
        row, caption = [], ''
        for epoch in range(views):
            if hasattr(dataset, 'set_epoch'):
                dataset.set_epoch(epoch)
            packed = dataset[index]
            sample = packed['data_samples']
            row += _cells(packed, names)
            caption = caption or f'{sample.get("stem") or stem_of(sample.img_path)}: {_classes(sample, names)}'
        rows.append([read_image(sample.img_path), *row])
        captions.append(caption)
    columns = max(len(row) for row in rows)
    titles = ['file', *(f'view {1 + i * views // max(columns - 1, 1)}' for i in range(columns - 1))]
    save_png(out_file, side_by_side(rows, titles, captions, HEIGHT))
    return count


def _cells(packed: dict[str, Any], names: tuple[str, ...]) -> list[np.ndarray]:
    """Returns pictures of a sample: the image with its label map, and its saliency and CAMs where it has them."""
    image = packed['inputs'].permute(1, 2, 0).float().clamp(0, 255).round().byte().numpy()[..., ::-1]
    image, sample = np.ascontiguousarray(image), packed['data_samples']
    cells = [image]
    if 'gt_sem_seg' in sample:
        label = sample.gt_sem_seg.data[0].numpy().astype(np.uint8)
        cells = [draw_label(image, label, display_palette(max(len(names), int(label[label < 255].max(initial=0)) + 1)))]
    for name, values in (('saliency', sample.get('gt_saliency')), ('CAM', sample.get('gt_cam'))):
        if values is not None:
            heat = values.data.numpy()
            heat = heat.max(axis=0) if len(heat) else np.zeros(heat.shape[1:], np.float32)
            small = fit_image(image, HEIGHT)
            cells.append(write_on(draw_cam(small, _resized(heat, small.shape[:2])), name))
    return cells


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(resize_cam(values[None], size))[0].clip(0, 1)


def _classes(sample: SegDataSample, names: tuple[str, ...]) -> str:
    if 'gt_img_label' in sample:
        found = [i for i, value in enumerate(sample.gt_img_label.label.tolist()) if value]
    elif 'gt_sem_seg' in sample:
        found = [i for i in sample.gt_sem_seg.data.unique().tolist() if 0 < i < 255]
    else:
        return 'no labels'
    return ', '.join(names[i] if i < len(names) else f'class {i}' for i in found) or 'no class'
