"""One picture of all stages: photographs, CAMs, label maps, ground truth."""
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmwsss.datasets import DataFolder
from mmwsss.structures.cam_file import cam_path, read_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, read_label, voc_palette
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import (
    IGNORE,
    draw_cam,
    draw_label,
    draw_legend,
    fit_image,
    save_png,
    side_by_side,
    write_on,
)

ORDINALS = ('CAM', '2nd CAM', '3rd CAM')


def stage_figure(stems: Sequence[str], data: DataFolder | str | os.PathLike, out_path: str | os.PathLike,
                 cam_dir: str | os.PathLike | None = None, label_dirs: Mapping[str, str | os.PathLike] | None = None,
                 prediction_dir: str | os.PathLike | None = None, num_cams: int = 2, height: int = 160) -> np.ndarray:
    """Draws one row per image: photograph, its strongest CAMs, pseudo labels, prediction, ground truth.

    A column whose folder is not given is left out, and so is the ground truth where there is none. A file that is
    missing for one image leaves its cell empty.

    Args:
        stems: Images to draw.
        data: The data set, or its root. Its masks are the ground truth.
        out_path: PNG to write.
        cam_dir: Folder of CAM files.
        label_dirs: Column title -> folder of label maps.
        prediction_dir: Folder of a segmentor's label maps.
        num_cams: Most CAMs an image, 1 to 3; the strongest is the one with the largest mean.
        height: Height of a row in pixels.

    Returns:
        The picture, uint8 [h, w, 3], RGB.

    Raises:
        UserError: If a given folder, or an image, is missing; if a file is damaged, of another size than its image,
            or has a class that is not among those of the data.
    """
    if not 1 <= num_cams <= len(ORDINALS):
        raise ValueError(f'num_cams must be 1 to {len(ORDINALS)}, got {num_cams}')
    data = DataFolder.find(data)
    classes, images, masks = data.classes, data.image_paths(), data.mask_paths()
    for stem in stems:
        if stem not in images:
            raise UserError(f'{data.images_path / stem}: no such image; check the split and the data root')
    columns = dict(label_dirs or {})
    if prediction_dir is not None:
        columns['prediction'] = prediction_dir
    for folder in [*columns.values(), *([] if cam_dir is None else [cam_dir])]:
        if not Path(folder).is_dir():
            raise UserError(f'{folder}: no such folder; run the stage that writes it')
    if any(stem in masks for stem in stems):
        columns['ground truth'] = None

    palette = voc_palette(len(classes) + 1)
    shown: set[int] = set()
    cam_rows, label_rows, photos = [], [], []
    for stem in stems:
        photo = read_image(images[stem])
        photos.append(fit_image(photo, height))
        cam_rows.append([] if cam_dir is None else
                        _cam_cells(photo, cam_path(cam_dir, stem), classes, num_cams, height))
        labels = [_read_label(masks.get(stem), photo, classes, data.mask_values) if folder is None
                  else _read_label(label_path(folder, stem), photo, classes) for folder in columns.values()]
        label_rows.append([None if label is None else draw_label(photo, label, palette) for label in labels])
        shown.update(*(np.unique(label).tolist() for label in labels if label is not None))

    # As many CAM columns as some image fills, but one where CAMs were asked for.
    cam_columns = 0 if cam_dir is None else max([1, *map(len, cam_rows)])
    rows = [[photo, *cams, *[None] * (cam_columns - len(cams)), *labels]
            for photo, cams, labels in zip(photos, cam_rows, label_rows)]
    sheet = side_by_side(rows, ['image', *ORDINALS[:cam_columns], *columns], list(stems), height)
    if shown:
        colours = {'background' if i == 0 else classes[i - 1]: palette[i] for i in sorted(shown - {IGNORE})}
        if IGNORE in shown:
            colours['ignored (255)'] = None
        sheet = np.concatenate([sheet, draw_legend(list(colours), list(colours.values()), sheet.shape[1])])
    save_png(out_path, sheet)
    return sheet


def _cam_cells(photo: np.ndarray, path: Path, classes: Sequence[str], num_cams: int, height: int) -> list[np.ndarray]:
    if not path.is_file():
        return []
    cam_file = read_cam(path)
    if tuple(cam_file.size) != photo.shape[:2]:
        raise UserError(f'{path}: was made for an image of size {tuple(cam_file.size)} (height, width), but the image '
                        f'has {photo.shape[:2]}; make the CAM again')
    if len(cam_file.classes) and cam_file.classes.max() >= len(classes):
        raise UserError(f'{path}: has class {cam_file.classes.max()}, but there are only {len(classes)} classes; was '
                        'it made for another data set?')
    cams = resize_cam(cam_file.cam, photo.shape[:2])
    strongest = np.argsort(-cams.mean(axis=(1, 2)), kind='stable')[:num_cams]
    return [write_on(fit_image(draw_cam(photo, cams[i]), height), classes[cam_file.classes[i]]) for i in strongest]


def _read_label(path: str | Path | None, photo: np.ndarray, classes: Sequence[str],
                mask_values: Mapping | None = None) -> np.ndarray | None:
    if path is None or not os.path.isfile(path):
        return None
    label = read_label(path, mask_values)
    if label.shape != photo.shape[:2]:
        raise UserError(f'{path}: has size {label.shape} (height, width), but its image has {photo.shape[:2]}; make '
                        'the label again')
    if (highest := label[label != IGNORE].max(initial=0)) > len(classes):
        raise UserError(f'{path}: has label {highest}, but there are only {len(classes)} classes and the background; '
                        'was it made for another data set?')
    return label
