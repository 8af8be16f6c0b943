"""Pseudo labels, and evaluating label maps, as stages."""
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmwsss.apis.evaluation import evaluate_label_dir
from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.experiments.pipeline.stage import FILES, Stage, StageContext, StageResult
from mmwsss.experiments.pipeline.stages.cam import EvalStage
from mmwsss.experiments.training_checks import check_saliency
from mmwsss.postprocessing import DEFAULT_BACKGROUND, build_postprocessors
from mmwsss.postprocessing.background import AUTO, check_background, needs_saliency
from mmwsss.registry import STAGES
from mmwsss.utils.errors import check_missing
from mmwsss.utils.parallel import check_num_workers


@STAGES.register_module('pseudo_label')
@dataclass(kw_only=True)
class PseudoLabel(Stage):
    """Turns CAM files into label maps, see :func:`mmwsss.apis.pseudo_label.make_pseudo_label`. Input: ``cams``.

    With a background of type ``'saliency'`` or ``'saliency_mean'`` it reads saliency maps too: those of the input
    ``saliency``, or without it those of the data set.
    """
    INPUTS = dict(cams=FILES, saliency=FILES)
    REQUIRED = ('cams',)
    MAIN_PROCESS_ONLY = True

    split: str
    background: Mapping = field(default_factory=lambda: dict(DEFAULT_BACKGROUND))
    postprocessors: Sequence[Mapping] = ()
    num_workers: int | None = None
    missing_cam: str = 'error'

    def __post_init__(self) -> None:
        check_background(self.background)
        build_postprocessors(self.postprocessors)
        check_missing('missing_cam', self.missing_cam)
        check_num_workers(self.num_workers)

    @property
    def READS(self) -> tuple[str, ...]:
        """See :class:`Stage`."""
        of_data = needs_saliency(self.background) and not {'saliency'} & {*self.inputs, *self.paths}
        return ('images', 'saliency') if of_data else ('images',)

    def check(self, context: StageContext) -> None:
        """Checks the split, and the saliency maps of the data set where they are read."""
        super().check(context)
        if 'saliency' in self.READS:
            check_saliency(context.data, self.split)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        data = context.data
        if 'saliency' in context.inputs:
            data = dataclasses.replace(data, saliency_dir=str(Path(context.inputs['saliency']).resolve()))
        summary = make_pseudo_label(
            context.inputs['cams'], data, context.remaining(self.split), context.folder / 'labels',
            background=self.background, postprocessors=self.postprocessors, num_workers=self.num_workers,
            missing_cam=self.missing_cam)
        rows = []
        if self.background['type'] == AUTO:
            rows = [dict(metric='threshold', value=summary['background']['threshold'], unit='',
                         note='chosen from the CAMs, without masks')]
        return StageResult('labels', rows, [tuple(file) for file in summary['skipped']])


@STAGES.register_module('eval_label')
@dataclass(kw_only=True)
class EvalLabel(EvalStage):
    """Evaluates label maps; its output is ``metrics.json``. Input: ``labels``."""
    INPUTS = dict(labels=FILES)
    REQUIRED = ('labels',)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        return self.evaluate(evaluate_label_dir, context.inputs['labels'], context)
