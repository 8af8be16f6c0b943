"""One picture of all stages: photographs, CAMs, label maps, ground truth."""
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmwsss.datasets import DataFolder
from mmwsss.structures.cam_file import cam_path, read_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, read_label
from mmwsss.structures.maps import resize_cam
from mmwsss.structures.settings_folder import SettingsFolder
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json
from mmwsss.visualization.draw import (
    IGNORE,
    display_palette,
    draw_cam,
    draw_label,
    draw_legend,
    fit_image,
    save_png,
    side_by_side,
    write_on,
)

ORDINALS = ('CAM', '2nd CAM', '3rd CAM')
# What the manifest of a folder of pictures says. Not how they were drawn: pictures are drawn over at will.
CAM_PICTURES = {'made_by': 'mmwsss draw cam'}


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
        num_cams: Most CAMs an image, 1 to 3; the strongest is the one with the largest mean. Where few images have as
            many, they share a column.
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

    palette = display_palette(len(classes) + 1)
    shown: set[int] = set()
    cam_rows, label_rows, photos = [], [], []
    for stem in stems:
        photo = read_image(images[stem])
        photos.append(fit_image(photo, height))
        cam_rows.append([] if cam_dir is None else
                        [*_cam_cells(photo, cam_path(cam_dir, stem), classes, num_cams, height).values()])
        labels = [_read_label(masks.get(stem), photo, classes, data.mask_values) if folder is None
                  else _read_label(label_path(folder, stem), photo, classes) for folder in columns.values()]
        label_rows.append([None if label is None else draw_label(photo, label, palette) for label in labels])
        shown.update(*(np.unique(label).tolist() for label in labels if label is not None))

    cam_columns = 0 if cam_dir is None else _num_columns([len(cams) for cams in cam_rows])
    rows = [[photo, *_fill(cams, cam_columns, height), *labels]
            for photo, cams, labels in zip(photos, cam_rows, label_rows)]
    sheet = side_by_side(rows, ['image', *ORDINALS[:cam_columns], *columns], list(stems), height)
    colours = {}
    if shown:
        colours = {classes[i - 1]: palette[i] for i in sorted(shown - {0, IGNORE})}
        if IGNORE in shown:
            colours['ignored (255)'] = None
    if colours:
        sheet = np.concatenate([sheet, draw_legend(list(colours), list(colours.values()), sheet.shape[1])])
    save_png(out_path, sheet)
    return sheet


def open_cam_pictures(out_dir: str | os.PathLike, data: DataFolder) -> None:
    """Makes a folder ready for the pictures of :func:`cam_figure`, which may replace those of an earlier call.

    Its ``manifest.json`` says that it holds such pictures.

    Args:
        out_dir: The folder.
        data: The data set of the images.

    Raises:
        UserError: If ``out_dir`` is a folder of the data set or lies in one, or holds PNG files that are not such
            pictures.
    """
    data.check_output_dir(out_dir)
    SettingsFolder(out_dir, CAM_PICTURES, 'pictures', suffix='.png', option='--out-dir', read=_read_manifest).open()


def _read_manifest(path: Path) -> Mapping:
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        found = None
    if found != CAM_PICTURES:
        raise UserError(f'{path}: is of other files than the pictures of mmwsss draw cam; choose another folder for '
                        'them (--out-dir)')
    return found


def cam_figure(stem: str, data: DataFolder, cam_dirs: Mapping[str, str | os.PathLike], out_dir: str | os.PathLike,
               height: int = 240) -> np.ndarray:
    """Draws an image and its CAMs beside each other.

    Of one folder all CAMs are in a row, the strongest first. Of several, each has a column and each class a row, in the
    order of the classes; where a folder has no CAM of a class, the cell is empty.

    Args:
        stem: The image.
        data: Its data set.
        cam_dirs: Title of the column -> folder of CAM files.
        out_dir: Folder for ``<stem>.png``.
        height: In pixels.

    Returns:
        The picture, uint8 [h, w, 3], RGB.

    Raises:
        UserError: If image or CAM file are missing, damaged, or do not belong together.
    """
    photo = read_image(data.image_paths()[stem])
    found = [_cam_cells(photo, cam_path(folder, stem), data.classes, len(data.classes), height)
             for folder in cam_dirs.values()]
    shown, titles = fit_image(photo, height), None
    if len(cam_dirs) == 1:
        rows = [[shown, *found[0].values()]]
    else:
        titles = ['image', *cam_dirs]
        rows = [[shown, *(cams.get(index) for cams in found)] for index in sorted(set().union(*found))] or [[shown]]
        titles = titles[:len(rows[0])]
    sheet = side_by_side(rows, titles, height=height)
    save_png(label_path(out_dir, stem), sheet)
    return sheet


def _num_columns(counts: Sequence[int]) -> int:
    """Returns how many columns the CAMs get: one, and each further one that half of the images fill."""
    columns = 1
    while counts and 2 * sum(count > columns for count in counts) >= len(counts):
        columns += 1
    return columns


def _fill(cams: Sequence[np.ndarray], columns: int, height: int) -> list[np.ndarray | None]:
    """Returns a cell for each column; CAMs without a column of their own share the last, above each other."""
    if not columns or len(cams) <= columns:
        return [*cams, *[None] * (columns - len(cams))]
    shared = [fit_image(cam, height // (len(cams) - columns + 1)) for cam in cams[columns - 1:]]
    width = max(cam.shape[1] for cam in shared)
    cell = np.full((sum(len(cam) for cam in shared), width, 3), 255, np.uint8)
    top = 0
    for cam in shared:
        cell[top:top + len(cam), :cam.shape[1]] = cam
        top += len(cam)
    return [*cams[:columns - 1], cell]


def _cam_cells(photo: np.ndarray, path: Path, classes: Sequence[str], num_cams: int,
               height: int) -> dict[int, np.ndarray]:
    """Returns {class: its CAM over the image}, the strongest first."""
    if not path.is_file():
        return {}
    cam_file = read_cam(path)
    if tuple(cam_file.size) != photo.shape[:2]:
        raise UserError(f'{path}: was made for an image of size {tuple(cam_file.size)} (height, width), but the image '
                        f'has {photo.shape[:2]}; make the CAM again')
    if len(cam_file.classes) and cam_file.classes.max() >= len(classes):
        raise UserError(f'{path}: has class {cam_file.classes.max()}, but there are only {len(classes)} classes; was '
                        'it made for another data set?')
    cams = resize_cam(cam_file.cam, photo.shape[:2])
    strongest = np.argsort(-cams.mean(axis=(1, 2)), kind='stable')[:num_cams]
    return {int(cam_file.classes[i]): write_on(fit_image(draw_cam(photo, cams[i]), height),
                                               classes[cam_file.classes[i]]) for i in strongest}


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
