"""Making, refining and evaluating CAM files, as stages."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmwsss.apis import cam_files
from mmwsss.apis.evaluation import evaluate_cam_dir
from mmwsss.apis.evaluation_details import add_details
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.pipeline.stage import (
    CAM,
    FILES,
    OTHER,
    REFINED_CAM,
    ConfigStage,
    Stage,
    StageContext,
    StageResult,
    no_masks,
    say_without_masks,
)
from mmwsss.experiments.pipeline.stage_keys import config_parts, dataset_key
from mmwsss.experiments.weight_checks import check_hook_weights
from mmwsss.postprocessing import build_postprocessors
from mmwsss.postprocessing.background import check_background, needs_saliency
from mmwsss.registry import STAGES
from mmwsss.utils.errors import UserError, check_missing
from mmwsss.utils.fileio import read_json, write_json
from mmwsss.utils.parallel import check_num_workers


@dataclass(kw_only=True)
class _CAMStage(ConfigStage):

    def config_key(self, cfg: Config) -> dict[str, Any]:
        """See :meth:`ConfigStage.config_key`."""
        return config_parts(cfg, 'make_cam')

    def data_key(self, cfg: Config, context: StageContext) -> str:
        """See :meth:`ConfigStage.data_key`."""
        return dataset_key(cfg.test_dataloader.dataset, self.split, context)

    def check(self, context: StageContext) -> None:
        """Checks split and checkpoint, and the weights of second networks that refine the CAMs."""
        super().check(context)
        check_hook_weights(self.load(context))


@STAGES.register_module('make_cam')
@dataclass(kw_only=True)
class MakeCAM(_CAMStage):
    """Makes the CAM files of a split; its output is their folder. Input: ``checkpoint``, of the classifier."""
    INPUTS = dict(checkpoint=OTHER)
    REQUIRED = ('checkpoint',)
    ROLE = CAM

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        result = cam_files.make_cam(self.load(context), context.inputs['checkpoint'], context.folder / 'cam',
                                    self.split, context.folder / 'logs', context.launcher)
        return StageResult('cam', skipped=result.skipped)


@STAGES.register_module('refine_cam')
@dataclass(kw_only=True)
class RefineCAM(_CAMStage):
    """Refines CAM files by an AffinityNet or IRNet; its output is their folder.

    Its label maps are ``<name of the stage>/labels``. Inputs: ``checkpoint``, of the network, and ``cams``.

    Args:
        background: How the label maps are made of the refined CAMs; ``None``: they are those that the model predicts.
        postprocessors: Configs of POSTPROCESSORS for label maps with ``background``.
    """
    INPUTS = dict(checkpoint=OTHER, cams=FILES)
    REQUIRED = ('checkpoint', 'cams')
    ROLE = REFINED_CAM

    background: dict | None = None
    postprocessors: Sequence[dict] = ()

    def __post_init__(self) -> None:
        if self.background is not None:
            check_background(self.background)
            if needs_saliency(self.background):
                raise UserError("a refine_cam stage has no saliency maps; give background=dict(type='saliency', ...) "
                                'to a pseudo_label stage behind it')
        build_postprocessors(self.postprocessors)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        result = cam_files.refine_cam(
            self.load(context), context.inputs['checkpoint'], context.inputs['cams'], context.folder,
            context.remaining(self.split), context.folder / 'logs', context.launcher, self.background,
            self.postprocessors)
        return StageResult('cam', skipped=result.skipped)


@dataclass(kw_only=True)
class EvalStage(Stage):
    """Evaluates the files of a split; without masks it reports that there are none.

    Args:
        split: The images.
        missing: What a missing file is: ``'error'``, or ``'skip'``, to leave its image out. What the stages before have
            left out is not missing.
    """
    READS = ('images', 'masks')
    EVALUATES = True
    MAIN_PROCESS_ONLY = True

    split: str
    missing: str = 'error'

    def __post_init__(self) -> None:
        check_missing('missing', self.missing)

    def check(self, context: StageContext) -> None:
        """Says where there is nothing to evaluate on, or less than the split."""
        super().check(context)
        say_without_masks(context, self.name, self.split)

    def evaluate(self, evaluate: Callable[..., dict], folder: str, context: StageContext) -> StageResult:
        """Writes ``metrics.json``, with what a function returns for a folder of files."""
        out = context.folder / 'metrics.json'
        if not context.data.has_masks(self.split):
            write_json(out, dict(mIoU=None, note=no_masks(context)))
            return StageResult(out, [dict(metric='mIoU', value=None, unit='%', note=no_masks(context))])
        report = evaluate(folder, context.data, context.remaining(self.split), missing=self.missing)
        skipped = [tuple(file) for file in report.pop('skipped', ())]
        write_json(out, report)
        oracle = report['threshold'] is not None
        note = context.remark(self.split, *([f'threshold {report["threshold"]:.2f}'] if oracle else []))
        row = dict(metric='mIoU', value=100 * report['mIoU'], unit='%', note=note, oracle=oracle)
        return StageResult(out, [row], skipped)


@STAGES.register_module('eval_cam')
@dataclass(kw_only=True)
class EvalCAM(EvalStage):
    """Evaluates CAM files at every threshold; its output is ``metrics.json``. Input: ``cams``.

    Args:
        details: Whether to evaluate by kind of error and by number of classes too, and image by image in
            ``per_image.csv``; see :func:`mmwsss.apis.evaluation_details.add_details`.
        postprocessors: Configs of POSTPROCESSORS (a CRF) to evaluate the CAMs with at their best threshold, too; the
            figures of every image after them are in ``per_image_refined.csv``.
        num_workers: Processes for these.
    """
    INPUTS = dict(cams=FILES)
    REQUIRED = ('cams',)

    details: bool = False
    postprocessors: Sequence[dict] = ()
    num_workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        build_postprocessors(self.postprocessors)
        check_num_workers(self.num_workers)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        result = self.evaluate(self._function(context), context.inputs['cams'], context)
        report = read_json(context.folder / 'metrics.json')
        if 'refined' in report:
            names = ', '.join(config['type'] for config in self.postprocessors)
            note = f'{result.metrics[0]["note"]}, {names}'
            result.metrics.append(dict(metric='mIoU', value=100 * report['refined']['mIoU'], unit='%', note=note,
                                       oracle=True, after=names))
        return result

    def _function(self, context: StageContext) -> Callable[..., dict]:
        def evaluate(folder: str, data: DataFolder, split: str, missing: str) -> dict:
            report = evaluate_cam_dir(folder, data, split, missing=missing)
            if self.details or self.postprocessors:
                report = add_details(report, folder, data, split, self.postprocessors,
                                     context.folder / 'per_image.csv', self.num_workers)
            return report
        return evaluate
