"""Applying a trained model to images: label maps and pictures of them as files."""
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmwsss.apis.image_sources import list_images
from mmwsss.apis.inferencer import ImageInferencer
from mmwsss.apis.prediction_files import PredictionFiles
from mmwsss.postprocessing import DEFAULT_BACKGROUND, build_postprocessors
from mmwsss.utils.parallel import progress_bar


def write_predictions(inferencer: ImageInferencer, images: Sequence[str | Path], out_dir: str | os.PathLike,
                      background: Mapping = DEFAULT_BACKGROUND,
                      postprocessors: Sequence[Mapping] = ()) -> dict[str, Any]:
    """Applies a model to images and writes :class:`~mmwsss.apis.prediction_files.PredictionFiles`.

    Args:
        inferencer: A :class:`~mmwsss.apis.inferencer.CAMInferencer`, or a
            :class:`~mmwsss.apis.seg_inferencer.SegInferencer`.
        images: Image files and folders of images, including sub folders; see
            :func:`mmwsss.apis.image_sources.list_images`.
        out_dir: Folder for the files; those of an earlier call are replaced.
        background: How the labels of a classifier are made, see :func:`mmwsss.postprocessing.pseudo_label`.
        postprocessors: Configs of POSTPROCESSORS for these labels, applied in this order.

    Returns:
        ``num_images``, the number of images that were written; ``skipped``, (path, reason) of the others;
        ``without_class``, the paths of those in which a classifier found no class.

    Raises:
        UserError: If an image does not exist, no image can be used, or ``out_dir`` would overwrite an image, lies in
            a folder of ``images``, or holds label maps or pictures of another origin.
    """
    build_postprocessors(postprocessors)  # mistakes in them are found before the first image
    files = PredictionFiles(out_dir, inferencer.classes, background, postprocessors)
    sources = [file for path in map(Path, images) for file in list_images(path)]
    files.check_sources([*map(Path, images), *sources])
    # A single file that cannot be used is an error, and not skipped.
    given = sources[0] if len(sources) == 1 else sources
    with progress_bar() as progress:
        for _ in progress.track(files.write_all(inferencer.iterate(given)), len(sources), description='predictions'):
            pass
    empty = [image['image'] for image in files.images if image.get('classes') == []]
    return dict(num_images=len(files.images), skipped=list(inferencer.skipped), without_class=empty)
