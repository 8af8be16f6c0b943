"""The prediction of a trained model for one image: its numbers, its label map, and a picture of it."""
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmwsss.config.label_options import label_options
from mmwsss.postprocessing import build_postprocessors, pseudo_label
from mmwsss.structures.cam_file import CAMFile, write_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import IGNORE, write_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.visualization.draw import display_palette, draw_cam, draw_label, draw_legend, save_png, side_by_side

HEIGHT = 320  # of an image in a picture of CAMs


@dataclass
class Prediction(ABC):
    """Base class of the predictions for one image.

    Attributes:
        source: Path of the image; ``None`` if it was given in memory.
    """
    source: Path | None
    pixels: np.ndarray | None = field(default=None, repr=False, kw_only=True)

    def image(self) -> np.ndarray:
        """Returns the image, uint8 [H, W, 3] RGB; an image file is read again."""
        return read_image(self.source) if self.pixels is None else np.ascontiguousarray(self.pixels)

    @abstractmethod
    def draw(self) -> np.ndarray:
        """Returns a picture of the prediction, uint8 [h, w, 3] RGB."""

    def _save(self, path: str | os.PathLike) -> None:
        if Path(path).suffix.lower() != '.png':
            raise UserError(f'{path}: cannot be written; the picture is a .png file')
        save_png(path, self.draw())


@dataclass
class CAMPrediction(Prediction):
    """The CAM of one image.

    Attributes:
        cam: float32 [K, h, w] in [0, 1], one map per class in ``classes``, h = ceil(H / stride).
        classes: Names of the K classes.
        scores: Sigmoid score by class name, of all C classes.
        size: (H, W) of the image.
        class_filter: How the K classes were chosen: ``'label'``: by the given labels; ``'score'``: by their scores;
            ``'top_k'``: by rank, since no score was high enough.
        source: Path of the image; ``None`` if it was given in memory.
    """
    cam: np.ndarray
    classes: tuple[str, ...]
    scores: dict[str, float]
    size: tuple[int, int]
    class_filter: str

    def full_size(self) -> np.ndarray:
        """Returns the maps at the size of the image, float32 [K, H, W]."""
        return np.asarray(resize_cam(self.cam, self.size))

    def cam_file(self) -> CAMFile:
        """Returns the CAM in the form in which it is saved."""
        names = list(self.scores)
        ids = np.array([names.index(name) for name in self.classes], np.int64)
        return CAMFile(ids, self.cam.astype(np.float16), self.size)

    def pseudo_label(self, threshold: float | None = None, crf: bool = False, background: Mapping | None = None,
                     postprocessors: Sequence[Mapping] | None = None) -> np.ndarray:
        """Makes the label map of the image.

        Args:
            threshold: Background score: a pixel is background where no map exceeds it; ``None``: the default of
                ``mmwsss label``.
            crf: Refine it with a dense CRF.
            background: In place of ``threshold``, see :func:`mmwsss.postprocessing.pseudo_label`.
            postprocessors: In place of ``crf``: configs of POSTPROCESSORS, applied in this order.

        Returns:
            uint8 [H, W]: 0 background, k + 1 for class k of all C classes. With more than 254 classes, k is an index
            into :attr:`classes` instead.
        """
        options = label_options(threshold, crf=crf)
        built = build_postprocessors(options['postprocessors'] if postprocessors is None else postprocessors)
        cam_file = self.cam_file()
        if len(self.scores) >= IGNORE:
            cam_file.classes = np.arange(len(self.classes))
        return pseudo_label(cam_file, self.image(), background or options['background'], built)

    def overlay(self, name: str | None = None, alpha: float = .5) -> np.ndarray:
        """Draws the CAM of a class over the image as a heat map.

        Args:
            name: The class; ``None``: the class of :attr:`classes` with the highest score.
            alpha: Opacity of the heat map.

        Returns:
            uint8 [H, W, 3] RGB; the image itself if it has no class.

        Raises:
            UserError: If there is no CAM of this class.
        """
        if name is None and not self.classes:
            return self.image()
        name = name or max(self.classes, key=self.scores.__getitem__)
        if name not in self.classes:
            raise UserError(f'{name!r}: has no CAM in this image, only {", ".join(self.classes) or "no class"} has')
        return draw_cam(self.image(), self.full_size()[self.classes.index(name)], alpha)

    def draw(self, label: np.ndarray | None = None) -> np.ndarray:
        """Draws the image, the CAM of every class with its score, and the label map.

        Args:
            label: uint8 [H, W]; ``None``: that of :meth:`pseudo_label`.

        Returns:
            uint8 [h, w, 3] RGB.
        """
        image = self.image()
        label = self.pseudo_label() if label is None else label
        maps = [draw_cam(image, cam) for cam in self.full_size()]
        titles = [f'{name} {self.scores[name]:.2f}' for name in self.classes]
        drawn = draw_label(image, label, display_palette(min(len(self.scores) + 1, IGNORE)))
        return side_by_side([[image, *maps, drawn]], [self.source.name if self.source else 'image', *titles, 'label'],
                            height=min(HEIGHT, image.shape[0]))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the picture of :meth:`draw` (``.png``), or the CAM file (``.npz``).

        Raises:
            UserError: For another extension.
        """
        if Path(path).suffix.lower() == '.npz':
            write_cam(path, self.cam_file())
        else:
            self._save(path)


@dataclass
class SegPrediction(Prediction):
    """The label map of one image.

    Attributes:
        label: uint8 [H, W]: 0 background, k + 1 for class k.
        classes: Names of the C foreground classes.
        source: Path of the image; ``None`` if it was given in memory.
    """
    label: np.ndarray
    classes: tuple[str, ...]

    def shares(self) -> dict[str, float]:
        """Returns the share of the pixels of every class in the label map, the background included."""
        numbers, counts = np.unique(self.label, return_counts=True)
        names = ('background', *self.classes)
        return {names[number]: int(count) / self.label.size for number, count in zip(numbers, counts)}

    def overlay(self, alpha: float = .6) -> np.ndarray:
        """Draws the label map over the image in the colours of the classes; returns uint8 [H, W, 3] RGB."""
        return draw_label(self.image(), self.label, display_palette(len(self.classes) + 1), alpha)

    def draw(self) -> np.ndarray:
        """Draws :meth:`overlay` with the names and colours of the classes below; returns uint8 [h, w, 3] RGB."""
        palette, overlay = display_palette(len(self.classes) + 1), self.overlay()
        shown = [name for name in self.shares() if name in self.classes]
        legend = draw_legend(shown, [palette[self.classes.index(name) + 1] for name in shown],
                             max(overlay.shape[1], 120))
        sheet = np.full((overlay.shape[0] + legend.shape[0], legend.shape[1], 3), 255, np.uint8)
        sheet[:overlay.shape[0], :overlay.shape[1]], sheet[overlay.shape[0]:] = overlay, legend
        return sheet

    def save(self, path: str | os.PathLike, picture: bool = False) -> None:
        """Writes the label map as a palette PNG, or with ``picture`` the picture of :meth:`draw`.

        Raises:
            UserError: For another extension than ``.png``.
        """
        if picture:
            self._save(path)
        elif Path(path).suffix.lower() != '.png':
            raise UserError(f'{path}: cannot be written; a label map is a .png file')
        else:
            write_label(path, self.label)
