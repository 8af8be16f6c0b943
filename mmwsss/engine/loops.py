"""The loop that makes and judges CAMs."""
import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader

from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.engine.mixed_precision import autocast, cast_backbone_weights
from mmwsss.registry import LOOPS


@LOOPS.register_module()
class CAMTestLoop(TestLoop):
    """MMEngine's test loop, in mixed precision if wanted, for batches that may be few or none.

    With :class:`SameSizeBatchSampler` a rank may get no batch, and no rank any when all files exist. Metrics
    that reduce over the ranks themselves (those that define ``evaluate``) are then evaluated all the same;
    others cannot be computed from nothing and are left out of the metrics, with a warning.

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

    Raises:
        UserError: If ``amp`` is something else, or the device cannot do it.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list,
                 amp: str | None = None, fuse_conv_bn: bool = False, cast_weights: bool = False) -> None:
        autocast(runner.model, amp)  # an error before the data is loaded
        super().__init__(runner, dataloader, evaluator)
        self.amp = amp
        self.fuse_conv_bn = fuse_conv_bn
        self.cast_weights = cast_weights

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
        return super().run() if batches else self._run_empty()

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
        # Not TestLoop.run_iter: it would switch autocast off again inside.
        with autocast(self.runner.model, self.amp):
            outputs = self.runner.model.test_step(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
