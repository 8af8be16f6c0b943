"""From the CAMs of one image to its label map."""
import os
from collections.abc import Mapping, Sequence

import numpy as np

from mmwsss.postprocessing.background import NO_BACKGROUND, check_background, merge_confident, to_score_map
from mmwsss.postprocessing.base import Postprocessor, on_image
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND
from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import IGNORE, write_label
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError


def pseudo_label(cam_file: CAMFile,
                 image: np.ndarray,
                 background: Mapping = DEFAULT_BACKGROUND,
                 postprocessors: Sequence[Postprocessor] = (),
                 saliency: np.ndarray | None = None) -> np.ndarray:
    """Makes the label map of one image.

    AffinityNet and IRNet are trained with labels of confident pixels: two results of one CAM, with much and with little
    background, merged (:func:`mmwsss.postprocessing.merge_confident`). Their configs are
    ``configs/_base_/postprocessing/affinity_label_softmax.py`` and ``affinity_label_hard.py``; they run a CRF, but
    any post-processors will do. What they prepare for the image, they prepare once for both results. AffinityNet as
    released pools the scores of both results to its grid, and takes argmax and merges there. Here labels are merged at
    full size, and ``AffinityNet.reduce_labels`` brings them to the grid, as the label that most pixels of a position
    have: the argmax of pooled labels, not of pooled scores, which can differ where a position holds several labels.

    Args:
        cam_file: The image's CAMs.
        image: uint8 [H, W, 3], RGB, of the size ``cam_file.size``.
        background: See :func:`mmwsss.postprocessing.to_score_map`; or ``dict(type='confident', foreground=...,
            background=..., conflict='background')``, where the first two are backgrounds: ``foreground`` is the higher
            one, under which pixels of classes are confident, ``background`` the lower one, under which pixels of the
            background are. The others are ignored. ``dict(type='none')``: every pixel is of a class.
        postprocessors: Applied in this order, to the scores with either background.
        saliency: uint8 [H, W], 255 = salient, for a background of type ``'saliency'``.

    Returns:
        uint8 [H, W]: 0 background, k + 1 for class k, 255 ignore (``'confident'`` alone). Without a class, everything
        is background.

    Raises:
        UserError: If the image has another size than the CAMs say, or ``background`` is wrong.
    """
    if image.shape[:2] != tuple(cam_file.size):
        raise UserError(f'the image has size {image.shape[:2]} (height, width), its CAM was made for '
                        f'{tuple(cam_file.size)}: make the CAM again')
    check_background(background)
    postprocess = on_image(postprocessors, image)
    if background['type'] == 'confident':
        high, low = (postprocess(to_score_map(cam_file, background[key], saliency)).to_label()
                     for key in ('foreground', 'background'))
        return merge_confident(high, low, background.get('conflict', 'background'))
    score_map = to_score_map(cam_file, background, saliency)
    label = postprocess(score_map).to_label()
    return fill_background(label, score_map) if background['type'] == NO_BACKGROUND else label


def fill_background(label: np.ndarray, score_map: ScoreMap) -> np.ndarray:
    """Gives the background of a label map to its strongest classes.

    Args:
        label: uint8 [H, W], 0 background.
        score_map: The scores [K + 1, H, W] before post-processing, the background first.

    Returns:
        uint8 [H, W], 0 nowhere; 255 where the image has no class.
    """
    if not len(score_map.classes):
        return np.full_like(label, IGNORE)
    best = (score_map.classes + 1).astype(np.uint8)[score_map.scores[1:].argmax(axis=0)]
    return np.where(label == 0, best, label)


def write_pseudo_label(path: str | os.PathLike, cam_file: CAMFile, img_path: str | os.PathLike,
                       background: Mapping = DEFAULT_BACKGROUND,
                       postprocessors: Sequence[Postprocessor] = (),
                       saliency: np.ndarray | None = None) -> np.ndarray:
    """Makes the label map of one image, see :func:`pseudo_label`, and writes it.

    Args:
        path: The label file.
        cam_file: The image's CAMs.
        img_path: The image.
        background: See :func:`pseudo_label`.
        postprocessors: See :func:`pseudo_label`.
        saliency: See :func:`pseudo_label`.

    Returns:
        The label map.

    Raises:
        UserError: If the image cannot be read, does not fit the CAMs, or a post-processor fails. The message begins
            with ``img_path``.
        OSError: If the file cannot be written.
    """
    image = read_image(img_path)
    try:
        label = pseudo_label(cam_file, image, background, postprocessors, saliency)
    except UserError as error:
        raise UserError(f'{img_path}: {error}') from error
    write_label(path, label)
    return label
