"""The loop that makes and evaluates CAMs."""
import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader

from mmwsss.engine import large_images
from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.engine.mixed_precision import autocast, cast_backbone_weights
from mmwsss.models.affinity.base_affinity_model import BaseAffinityModel
from mmwsss.models.classifiers.base_cam_model import BaseCAMModel
from mmwsss.registry import LOOPS
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError

# An image of which less would be left is skipped.
MIN_SIDE = 64
# Below so many pixels a batch is tried without an estimate.
SMALL_BATCH = 2 ** 21


@LOOPS.register_module()
class CAMTestLoop(TestLoop):
    """MMEngine's test loop, in mixed precision if wanted, for batches that may be few or none.

    With :class:`SameSizeBatchSampler` a rank may get no batch, and no rank any when all files exist. Metrics
    that reduce over the ranks themselves (those that define ``evaluate``) are then evaluated all the same;
    others cannot be computed from nothing and are left out of the metrics, with a warning.

    Large images, with CAM models and those that refine CAMs: those whose longer side is above ``max_side`` are made
    smaller first, since a model that was trained on objects of 200 pixels finds none of 2,000; maps keep the grid of
    the original. A batch that would need more memory than there is (estimated from a part of the image, or found out)
    is tested image by image, then at lower scales, each of which is logged; an image that cannot be done at all is left
    out of the result and named in the data set's ``skipped``, and the others go on.

    Args:
        runner: The runner.
        dataloader: Dataloader or its config.
        evaluator: Evaluator, or the config of one or of its metrics.
        amp: Runs the model in ``'bfloat16'`` or, on GPUs, ``'float16'`` where that is safe; ``None``: in full
            precision.
        fuse_conv_bn: Folds BatchNorms into the convolutions before them, see :mod:`mmwsss.engine.fuse_conv_bn`: a
            little faster, the same up to rounding. The runner's model is of use for tests only afterwards.
        cast_weights: Rounds the weights of backbones to the type of ``amp`` once and not in every forward pass, see
            :func:`mmwsss.engine.mixed_precision.cast_backbone_weights`: faster, the same to the last bit. The runner's
            model is of use for tests in this precision only afterwards.
        max_side: Longest side of an image, in pixels; ``None``: as they are.

    Raises:
        UserError: If ``amp`` is something else, or the device cannot do it, or if ``max_side`` is too small.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list,
                 amp: str | None = None, fuse_conv_bn: bool = False, cast_weights: bool = False,
                 max_side: int | None = None) -> None:
        autocast(runner.model, amp)  # an error before the data is loaded
        if max_side is not None and (not isinstance(max_side, int) or max_side < MIN_SIDE):
            raise UserError(f'test_cfg.max_side={max_side!r}: must be a whole number, at least {MIN_SIDE}, or None')
        super().__init__(runner, dataloader, evaluator)
        self.amp = amp
        self.fuse_conv_bn = fuse_conv_bn
        self.cast_weights = cast_weights
        self.max_side = max_side
        # Others may take images and maps of sizes that belong together.
        self._takes_any_size = isinstance(unwrapped(runner.model), (BaseCAMModel, BaseAffinityModel))
        self._bytes_per_pixel: float | None = None
        self._skipped: list[tuple[str, str]] = []

    def run(self) -> dict:
        """Tests the model.

        Returns:
            The metrics.
        """
        if self.fuse_conv_bn:
            self.runner.model.eval()
            fuse_conv_bn(self.runner.model)
        if self.cast_weights:
            self.runner.model.eval()
            cast_backbone_weights(self.runner.model, self.amp)
        batches = torch.tensor(len(self.dataloader))
        all_reduce(batches)
        metrics = super().run() if batches else self._run_empty()
        self._tell_skipped()
        return metrics

    def _tell_skipped(self) -> None:
        skipped = [item for items in all_gather_object(self._skipped) for item in items]
        dataset = self.dataloader.dataset
        while hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        if skipped and hasattr(dataset, 'skipped'):
            dataset.skipped.extend(skipped)
        self._skipped = []

    def _run_empty(self) -> dict:
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        metrics = {}
        for metric in self.evaluator.metrics:
            if type(metric).evaluate is BaseMetric.evaluate:
                print_log(f'{type(metric).__name__} is left out: there was nothing to test', logger='current',
                          level=logging.WARNING)
            else:
                metrics.update(metric.evaluate(len(self.dataloader.dataset)))
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[Any]) -> None:
        """Tests one batch."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self._predict(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _forward(self, data_batch: dict) -> list:
        # Not TestLoop.run_iter: it would switch autocast off again inside.
        with autocast(self.runner.model, self.amp):
            return self.runner.model.test_step(data_batch)

    def _predict(self, data_batch: dict) -> list:
        """Tests a batch, in parts or smaller where it has to be; images that cannot be done are not in the result."""
        if not self._takes_any_size:
            return self._forward(data_batch)
        batch = large_images.limit_side(data_batch, self.max_side)
        if self._room_for(batch) >= 1:
            outputs = self._try(batch)
            if outputs is not None:
                return outputs
        images = large_images.split_batch(batch)
        return [output for image in images for output in self._predict_image(image, is_new=len(images) > 1)]

    def _predict_image(self, image: dict, is_new: bool) -> list:
        """Tests an image at the largest scale that there is memory for; ``is_new``: it has not failed at scale 1."""
        name = getattr(image['data_samples'][0], 'img_path', 'an image')
        side = max(large_images.image_size(image))
        scale = min(1.0, self._room_for(image) ** 0.5)
        if scale == 1 and not is_new:
            scale = 0.5
        while side * scale >= MIN_SIDE:
            outputs = self._try(image if scale == 1 else large_images.scale_batch(image, scale))
            if outputs is not None:
                if scale < 1:
                    print_log(f'{name}: there is no memory for it as it is; its maps come from {scale:.0%} of '
                              'its sides', logger='current', level=logging.WARNING)
                return outputs
            scale /= 2
        reason = (f'there is no memory for an image of {side} pixels; give more, or a smaller --cfg-options '
                  'test_cfg.max_side')
        print_log(f'left out {name}: {reason}', logger='current', level=logging.WARNING)
        self._skipped.append((str(name), reason))
        return []

    def _try(self, batch: dict) -> list | None:
        """Tests a batch; ``None``: there was not enough memory."""
        try:
            return self._forward(batch)
        except (RuntimeError, MemoryError, OSError) as error:
            if not large_images.is_out_of_memory(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _room_for(self, batch: dict) -> float:
        """Returns how many times the memory that a batch is estimated to need is there; at least 1 for small ones."""
        pixels = large_images.num_pixels(batch)
        if pixels < SMALL_BATCH:
            return 1.0
        if self._bytes_per_pixel is None:
            self._bytes_per_pixel = large_images.bytes_per_pixel(self._forward, batch)
        room = large_images.available_memory(next(unwrapped(self.runner.model).parameters()).device)
        needed = large_images.MARGIN * self._bytes_per_pixel * pixels
        return float('inf') if room is None else room / max(needed, 1.0)
