"""The kinds of stages of a pipeline.

Each is a function with the keyword arguments ``folder`` (where the stage writes), ``pipeline`` and the stage's own
options, and returns a :class:`mmwsss.experiments.pipeline.pipeline.StageResult`. A stage on the CPU runs on the main
process only.
"""
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.apis import cam_files, runner
from mmwsss.apis.evaluation import evaluate_cam_dir, evaluate_label_dir
from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.config.config import set_backbone_weights
from mmwsss.config.seg_options import use_postprocessors, use_tta, without_masks
from mmwsss.datasets import on_rank_zero
from mmwsss.experiments.pipeline.pipeline import Pipeline, StageResult
from mmwsss.postprocessing import DEFAULT_BACKGROUND
from mmwsss.structures.cam_file import cam_path
from mmwsss.structures.label_file import label_path
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json
from mmwsss.visualization import stage_figure


def on_main_process(function: Callable[..., StageResult]) -> Callable[..., StageResult]:
    """Makes a stage run on the main process only and hand its result (or its error) to the others."""

    @functools.wraps(function)
    def wrapper(**kwargs) -> StageResult:
        return on_rank_zero(functools.partial(function, **kwargs))

    return wrapper


def train(folder: Path, pipeline: Pipeline, config: str, split: str, labels: str | None = None,
          encoder: str | None = None, cfg_options: dict | None = None) -> StageResult:
    """Trains a config on a split.

    ``labels`` is a folder of pseudo labels for a segmentor, ``encoder`` the checkpoint of a SLAM's semantic encoder.
    """
    if encoder is not None:
        cfg_options = {**(cfg_options or {}), 'model.encoder.init_cfg.checkpoint': encoder}
    cfg = pipeline.load_stage_config(config, cfg_options)
    cfg.train_dataloader.dataset.split = split
    if labels is not None:
        # Images that an earlier stage left out have no pseudo label.
        cfg.train_dataloader.dataset.pop('mask_values', None)  # of the ground truth
        cfg.train_dataloader.dataset.update(seg_dir=str(Path(labels).resolve()), missing_mask='skip')
    if pipeline.weights is not None:
        set_backbone_weights(cfg.model, pipeline.weights)
    result = runner.train(cfg, folder, resume=True, launcher=pipeline.launcher)
    return StageResult(str(result.checkpoint), omissions=result.omissions)


def make_cam(folder: Path, pipeline: Pipeline, config: str, checkpoint: str, split: str,
             cfg_options: dict | None = None) -> StageResult:
    """Makes the CAM files of a split."""
    cfg = pipeline.load_stage_config(config, cfg_options)
    result = cam_files.make_cam(cfg, checkpoint, folder / 'cam', split, folder / 'logs', pipeline.launcher)
    return StageResult(str(folder / 'cam'), omissions=result.omissions)


def refine_cam(folder: Path, pipeline: Pipeline, config: str, checkpoint: str, cams: str, split: str,
               cfg_options: dict | None = None, background: dict | None = None,
               postprocessors: Sequence[dict] = ()) -> StageResult:
    """Refines CAM files by an AffinityNet or IRNet; its label maps are ``<name of the stage>/labels``."""
    cfg = pipeline.load_stage_config(config, cfg_options)
    result = cam_files.refine_cam(cfg, checkpoint, cams, folder, split, folder / 'logs', pipeline.launcher,
                               background, postprocessors)
    return StageResult(str(folder / 'cam'), omissions=result.omissions)


@on_main_process
def eval_cam(folder: Path, pipeline: Pipeline, cams: str, split: str) -> StageResult:
    """Judges CAM files at every threshold; without masks there is nothing to do, which is said."""
    return _evaluation(evaluate_cam_dir, folder, pipeline, cams, split)


@on_main_process
def eval_label(folder: Path, pipeline: Pipeline, labels: str, split: str) -> StageResult:
    """Judges label maps; without masks there is nothing to do, which is said."""
    return _evaluation(evaluate_label_dir, folder, pipeline, labels, split)


def _evaluation(evaluate: Callable, folder: Path, pipeline: Pipeline, source: str, split: str) -> StageResult:
    out = folder / 'metrics.json'
    if not pipeline.data.has_masks(split):
        write_json(out, dict(mIoU=None, skipped=_no_masks(pipeline)))
        return StageResult(str(out), [dict(metric='mIoU', value=None, unit='%', note=_no_masks(pipeline))])
    report = evaluate(source, pipeline.data, split)
    omissions = [tuple(o) for o in report.pop('omissions', ())]
    write_json(out, report)
    oracle = report['threshold'] is not None
    note = f'{split}, threshold {report["threshold"]:.2f}' if oracle else split
    row = dict(metric='mIoU', value=100 * report['mIoU'], unit='%', note=note, oracle=oracle)
    return StageResult(str(out), [row], omissions)


def _no_masks(pipeline: Pipeline) -> str:
    return f'skipped: {pipeline.data.masks_path} has no masks to judge by'


@on_main_process
def pseudo_label(folder: Path, pipeline: Pipeline, cams: str, split: str, background: dict = DEFAULT_BACKGROUND,
                 postprocessors: Sequence[dict] = (), num_workers: int | None = None,
                 missing_cam: str = 'error') -> StageResult:
    """Turns CAM files into label maps; the options are those of :func:`make_pseudo_label`."""
    options = dict(background=background, postprocessors=postprocessors, num_workers=num_workers,
                   missing_cam=missing_cam)
    summary = make_pseudo_label(cams, pipeline.data, split, folder / 'labels', **options)
    return StageResult(str(folder / 'labels'), omissions=[tuple(o) for o in summary['omissions']])


def test(folder: Path, pipeline: Pipeline, config: str, checkpoint: str, split: str, cfg_options: dict | None = None,
         tta: bool = False, postprocessors: Sequence[dict] | None = (), num_workers: int | None = None) -> StageResult:
    """Tests a segmentor on a split, and writes its predictions as label maps; without masks it only writes them.

    ``tta`` averages over the config's scales and flips. The predictions are those after the ``postprocessors`` (the
    final CRF), if there are any; ``None`` takes the config's ``test_postprocessors``. They run in ``num_workers``
    processes. ``metrics.json`` also has the IoU of every class in the predictions that were written.
    """
    cfg = pipeline.load_stage_config(config, cfg_options)
    if tta:
        use_tta(cfg)
    cfg.test_dataloader.dataset.split = split
    predictions = folder / 'predictions'
    judged = pipeline.data.has_masks(split)
    if not judged:
        without_masks(cfg)
    if postprocessors is None or postprocessors:
        use_postprocessors(cfg, postprocessors, out_dir=str(predictions), with_iou=judged, num_workers=num_workers)
        postprocessors = cfg.test_evaluator[-1].postprocessors
    else:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='PseudoLabelWriter', out_dir=str(predictions))]
    result = runner.test(cfg, checkpoint, folder / 'logs', pipeline.launcher)
    if is_main_process():
        metrics = dict(result.metrics)
        if judged:
            metrics['per_class'] = evaluate_label_dir(predictions, pipeline.data, split, missing='skip')['per_class']
        write_json(folder / 'metrics.json', metrics)
    note = split if judged else _no_masks(pipeline)
    rows = [dict(metric='mIoU', value=result.metrics['mIoU'] if judged else None, unit='%', note=note)]
    if judged and postprocessors:
        names = ', '.join(config['type'] for config in postprocessors)
        rows[0]['note'] = f'{split}, before {names}'
        rows.insert(0, dict(metric='mIoU', value=result.metrics['refined/mIoU'], unit='%', note=f'{split}, {names}'))
    return StageResult(str(predictions), rows, result.omissions)


@on_main_process
def picture(folder: Path, pipeline: Pipeline, split: str, cams: str | None = None, predictions: str | None = None,
            num_images: int = 6, **labels: str) -> StageResult:
    """Draws images of a split with their CAMs, label maps and predictions.

    Every further option is a folder of label maps and the title of its column.
    """
    if not isinstance(num_images, int) or num_images < 1:
        raise UserError(f'num_images must be at least 1, got {num_images!r}')
    stems = pipeline.data.stems(split)
    chosen = [stems[i * len(stems) // num_images] for i in range(min(num_images, len(stems)))]
    maps = [folder for folder in (predictions, *labels.values()) if folder]
    chosen = [stem for stem in chosen if all(label_path(folder, stem).exists() for folder in maps)
              and (cams is None or cam_path(cams, stem).exists())]
    if not chosen:
        raise UserError(f'{folder}: none of the images chosen for the picture has all of {[cams, *maps]}')
    out = folder / f'{split}.png'
    stage_figure(chosen, pipeline.data, out, cam_dir=cams, prediction_dir=predictions,
                 label_dirs={title.replace('_', ' '): path for title, path in labels.items()})
    return StageResult(str(out))


STAGES: dict[str, Callable[..., StageResult]] = dict(
    train=train, make_cam=make_cam, refine_cam=refine_cam, eval_cam=eval_cam, pseudo_label=pseudo_label,
    eval_label=eval_label, test=test, picture=picture)
