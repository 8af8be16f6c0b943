"""Pictures of CAMs while they are made."""
from collections.abc import Sequence

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmwsss.registry import HOOKS
from mmwsss.structures.image_file import read_image
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.visualization import draw_cam, fit_image, side_by_side, write_on

# What chose the classes, by the class filter.
ORIGINS = {'label': 'from image-level labels', 'score': 'from predicted scores', 'top_k': 'of the highest scores'}


@HOOKS.register_module()
class CAMVisualizationHook(Hook):
    """Draws some test images with their CAMs through the Runner's visualizer.

    Each picture shows the photograph and the maps of the classes present, the highest score first, with the class
    name, its score and the class filter (whether labels or scores chose the classes). The samples of the first rank are
    counted over the test loop, and every ``interval``-th is drawn, beginning with the first. The visualizer's
    backends decide where pictures go; ``LocalVisBackend`` writes PNGs.

    Args:
        interval: Distance between the samples drawn.
        max_cams: Most maps in one picture.
        height: Height of the pictures in pixels.
    """

    def __init__(self, interval: int = 50, max_cams: int = 4, height: int = 240) -> None:
        if min(interval, max_cams, height) < 1:
            raise UserError(f'CAMVisualizationHook: interval, max_cams and height must be at least 1, got {interval}, '
                            f'{max_cams} and {height}')
        self.interval = interval
        self.max_cams = max_cams
        self.height = height
        self._count = 0

    def before_test(self, runner: Runner) -> None:
        """Starts counting anew, so that two tests draw the same samples."""
        self._count = 0

    @master_only
    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence[SegDataSample] | None = None) -> None:
        """Draws the samples of the batch whose turn it is.

        Args:
            runner: The Runner; its visualizer gets the pictures.
            batch_idx: Number of the batch.
            data_batch: Unused.
            outputs: The model's predictions, with ``pred_cam`` and ``pred_img_label``.

        Raises:
            UserError: If the model predicts no CAMs.
        """
        for sample in outputs or ():
            if self._count % self.interval == 0:
                if 'pred_cam' not in sample:
                    raise UserError('CAMVisualizationHook: the model predicts no CAMs; remove the hook from the config')
                names = (runner.visualizer.dataset_meta or {}).get('classes')
                picture = self._draw(sample, names)
                runner.visualizer.add_image(f'cam_{sample.stem.replace("/", "_")}', picture, step=self._count)
            self._count += 1

    def _draw(self, sample: SegDataSample, names: Sequence[str] | None) -> np.ndarray:
        photo = read_image(sample.img_path)
        classes = sample.pred_img_label.label.tolist()
        scores = sample.pred_img_label.score
        cams = resize_cam(sample.pred_cam.data.cpu(), photo.shape[:2]).numpy()
        order = sorted(range(len(classes)), key=lambda i: -float(scores[classes[i]]))[:self.max_cams]
        cells = [fit_image(photo, self.height)]
        for i in order:
            name = names[classes[i]] if names else f'class {classes[i]}'
            cell = fit_image(draw_cam(photo, cams[i]), self.height)
            cells.append(write_on(cell, f'{name} {float(scores[classes[i]]):.2f}'))
        origin = ORIGINS[sample.class_filter]
        return side_by_side([cells], captions=[f'{sample.stem}, classes {origin}'], height=self.height)
