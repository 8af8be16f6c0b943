"""Applying a trained model to images: label maps and pictures of them as files."""
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.apis.inferencer import CAMPrediction, ImageInferencer
from mmwsss.apis.seg_inferencer import SegPrediction
from mmwsss.datasets.layout import IMAGE_EXTENSIONS
from mmwsss.postprocessing import DEFAULT_BACKGROUND, build_postprocessors, pseudo_label
from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json
from mmwsss.utils.parallel import progress_bar
from mmwsss.visualization.draw import display_palette, draw_cam, draw_label, draw_legend, save_png, side_by_side

LABELS, OVERLAYS, INDEX = 'labels', 'overlays', 'predictions.json'
HEIGHT = 320  # of an image in a picture of CAMs


def write_predictions(inferencer: ImageInferencer, images: Sequence[str | Path], out_dir: str | os.PathLike,
                      background: Mapping = DEFAULT_BACKGROUND,
                      postprocessors: Sequence[Mapping] = ()) -> dict[str, Any]:
    """Applies a model to images and writes what it sees.

    ``labels/<name>.png`` are label maps (palette PNG, 0 background, k + 1 for class k) of the size of the image,
    ``overlays/<name>.png`` pictures, ``predictions.json`` the list of both with the classes of each image: the
    sigmoid score of every class of a classifier, the share of the pixels of those in a segmentor's mask. A name is the
    image's without its extension; a second image of one name gets a number.

    Args:
        inferencer: A :class:`~mmwsss.apis.inferencer.CAMInferencer`, or a
            :class:`~mmwsss.apis.seg_inferencer.SegInferencer`.
        images: Image files, and folders whose images are taken with those of their sub folders.
        out_dir: Folder for the files; those of an earlier call are replaced.
        background: How the labels of a classifier are made, see :func:`mmwsss.postprocessing.pseudo_label`.
        postprocessors: Configs of POSTPROCESSORS for these labels, applied in this order.

    Returns:
        ``num_images``, the number of images that were written, and ``omissions``, (path, reason) of the others.

    Raises:
        UserError: If there is no such image, none can be used, or ``out_dir`` would replace an image.
    """
    out_dir, built = Path(out_dir), build_postprocessors(postprocessors)
    sources = _list_images(images)
    for folder in (out_dir / LABELS, out_dir / OVERLAYS):
        if inside := next((path for path in sources if folder.resolve() in path.resolve().parents), None):
            raise UserError(f'{inside}: is in a folder that predictions are written to; choose another --out-dir')
    names, index = _Names(), []
    # A single file that cannot be used is an error and no omission.
    given = sources[0] if len(sources) == 1 else sources
    with progress_bar() as progress:
        for prediction in progress.track(inferencer.iterate(given), len(sources), description='predictions'):
            image, name = read_image(prediction.source), names.new(prediction.source)
            label, picture, classes = (_of_segmentor(prediction, image) if isinstance(prediction, SegPrediction)
                                       else _of_classifier(prediction, image, inferencer.classes, background, built))
            (out_dir / LABELS).mkdir(parents=True, exist_ok=True)
            write_label(label_path(out_dir / LABELS, name), label)
            save_png(label_path(out_dir / OVERLAYS, name), picture)
            index.append(dict(image=str(prediction.source), label=f'{LABELS}/{name}.png',
                              overlay=f'{OVERLAYS}/{name}.png', **classes))
    write_json(out_dir / INDEX, dict(classes=list(inferencer.classes), images=index))
    return dict(num_images=len(index), omissions=list(inferencer.omissions))


def _of_segmentor(prediction: SegPrediction, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    shares = prediction.shares()
    palette = display_palette(len(prediction.classes) + 1)
    overlay = draw_label(image, prediction.label, palette)
    shown = [name for name in shares if name in prediction.classes]
    legend = draw_legend(shown, [palette[prediction.classes.index(name) + 1] for name in shown],
                         max(overlay.shape[1], 120))
    sheet = np.full((overlay.shape[0] + legend.shape[0], legend.shape[1], 3), 255, np.uint8)
    sheet[:overlay.shape[0], :overlay.shape[1]], sheet[overlay.shape[0]:] = overlay, legend
    return prediction.label, sheet, dict(shares={name: round(share, 6) for name, share in shares.items()})


def _of_classifier(prediction: CAMPrediction, image: np.ndarray, classes: Sequence[str], background: Mapping,
                   postprocessors: Sequence) -> tuple[np.ndarray, np.ndarray, dict]:
    ids = np.array([classes.index(name) for name in prediction.classes], np.int64)
    label = pseudo_label(CAMFile(ids, prediction.cam.astype(np.float16), prediction.size), image, background,
                         postprocessors)
    maps = [draw_cam(image, cam) for cam in prediction.full_size()]
    titles = [f'{name} {prediction.scores[name]:.2f}' for name in prediction.classes]
    drawn = draw_label(image, label, display_palette(len(classes) + 1))
    sheet = side_by_side([[image, *maps, drawn]], [prediction.source.name, *titles, 'label'],
                         height=min(HEIGHT, image.shape[0]))
    return label, sheet, dict(classes=list(prediction.classes), scores={
        name: round(score, 6) for name, score in prediction.scores.items()})


def _list_images(images: Iterable[str | Path]) -> list[Path]:
    """Returns the files among what was given, and those in the folders among it."""
    found = []
    for path in map(Path, images):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_EXTENSIONS and file.is_file()
                        and not any(part.startswith('.') for part in file.relative_to(path).parts))
        if not inside:
            raise UserError(f'{path}: holds no images ({", ".join(sorted(IMAGE_EXTENSIONS))})')
        found += inside
    return found


class _Names:
    """Gives every image a name of its own."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, path: Path) -> str:
        """Returns the stem of a file, with a number where another file has it."""
        name, number = path.stem, 1
        while name in self.taken:
            number += 1
            name = f'{path.stem}_{number}'
        self.taken.add(name)
        return name
