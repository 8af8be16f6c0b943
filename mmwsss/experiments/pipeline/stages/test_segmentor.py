"""Testing a segmentor, as a stage."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmwsss.apis import runner
from mmwsss.apis.evaluation import evaluate_label_dir
from mmwsss.config.config import innermost
from mmwsss.config.seg_options import check_inference_mode, use_postprocessors, use_tta, without_masks
from mmwsss.experiments.pipeline.stage import (
    OTHER,
    SEGMENTOR,
    ConfigStage,
    StageContext,
    StageResult,
    no_masks,
    say_without_masks,
)
from mmwsss.experiments.pipeline.stage_keys import config_parts
from mmwsss.experiments.training_checks import check_masks
from mmwsss.postprocessing import build_postprocessors
from mmwsss.registry import STAGES
from mmwsss.utils.fileio import write_json
from mmwsss.utils.parallel import check_num_workers


@STAGES.register_module('test')
@dataclass(kw_only=True)
class TestSegmentor(ConfigStage):
    """Tests a segmentor on a split and writes its predictions as label maps; without masks it only writes them.

    Its output is their folder; ``metrics.json`` also has the IoU of every class in them. Input: ``checkpoint``.

    Args:
        tta: Whether to average over the config's scales and flips.
        postprocessors: Configs of POSTPROCESSORS (the final CRF), after which the predictions are written; ``None``:
            the config's ``test_postprocessors``.
        num_workers: Processes for them.
    """
    __test__ = False  # no class of tests, as pytest takes it for one

    INPUTS = dict(checkpoint=OTHER)
    REQUIRED = ('checkpoint',)
    ROLE = SEGMENTOR

    tta: bool = False
    postprocessors: Sequence[dict] | None = ()
    num_workers: int | None = None

    def __post_init__(self) -> None:
        build_postprocessors(self.postprocessors or ())
        check_num_workers(self.num_workers)

    def config_key(self, cfg: Config) -> dict[str, Any]:
        """See :meth:`ConfigStage.config_key`."""
        return config_parts(cfg, 'test')

    def data_key(self, cfg: Config, context: StageContext) -> str:
        """See :meth:`ConfigStage.data_key`."""
        return context.fingerprint(self.split, ('images', 'masks'), None)

    def key(self, context: StageContext) -> dict[str, Any]:
        """See :meth:`Stage.key`; the config's post-processors count as if the stage named them."""
        key = super().key(context)
        if self.postprocessors is None:
            key['options']['postprocessors'] = self.load(context).to_dict().get('test_postprocessors')
        return key

    def check(self, context: StageContext) -> None:
        """Checks split, checkpoint, masks and the mode of the test; says where there is nothing to evaluate on."""
        super().check(context)
        cfg = self.load(context)
        check_inference_mode(cfg)
        if context.data.has_masks(self.split):
            check_masks(innermost(cfg.test_dataloader.dataset), self.split)
        say_without_masks(context, self.name, self.split)

    def run(self, context: StageContext) -> StageResult:
        """See :meth:`Stage.run`."""
        cfg, data = self.load(context), context.data
        if self.tta:
            use_tta(cfg)
        cfg.test_dataloader.dataset.split = self.split
        predictions = context.folder / 'predictions'
        evaluated = data.has_masks(self.split)
        if not evaluated:
            without_masks(cfg)
        postprocessors = self.postprocessors
        if postprocessors is None or postprocessors:
            use_postprocessors(cfg, postprocessors, out_dir=str(predictions), with_iou=evaluated,
                               num_workers=self.num_workers)
            postprocessors = cfg.test_evaluator[-1].postprocessors
        else:
            evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
            cfg.test_evaluator = [*evaluators, dict(type='PseudoLabelWriter', out_dir=str(predictions))]
        result = runner.test(cfg, context.inputs['checkpoint'], context.folder / 'logs', context.launcher)
        names = ', '.join(config['type'] for config in postprocessors)
        if is_main_process():
            metrics = dict(result.metrics)
            if names:
                metrics['postprocessors'] = names
            if evaluated:
                metrics['per_class'] = evaluate_label_dir(predictions, data, self.split, missing='skip')['per_class']
            write_json(context.folder / 'metrics.json', metrics)
        note = self.split if evaluated else no_masks(context)
        rows = [dict(metric='mIoU', value=result.metrics['mIoU'] if evaluated else None, unit='%', note=note)]
        if evaluated and names:
            rows[0]['note'] = f'{self.split}, before {names}'
            rows.insert(0, dict(metric='mIoU', value=result.metrics['refined/mIoU'], unit='%',
                                note=f'{self.split}, {names}', after=names))
        return StageResult(predictions, rows, result.skipped)
