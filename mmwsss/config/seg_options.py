"""A test: several views of each image, post-processing such as the final CRF, predictions where there are no masks."""
import copy
import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg.models.segmentors import EncoderDecoder

from mmwsss.config.config import innermost, is_ours
from mmwsss.config.option_names import ALIKE, part_class
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.layout import check_output_dir
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

# What mmsegmentation's EncoderDecoder reads of model.test_cfg.
MODE_OPTIONS = ('mode', 'crop_size', 'stride')


def prepare_test(cfg: Config, split: str | None = None, *, tta: bool = False,
                 postprocessors: Sequence[dict] | None = (), out_dir: str | Path | None = None,
                 num_workers: int | None = None) -> bool:
    """Fits a config to a test of a split, in place: with evaluators where there are masks, without them otherwise.

    Args:
        cfg: The config of a CAM model or a segmentor.
        split: Split to test on; ``None``: the config's.
        tta: See :func:`use_tta`.
        postprocessors: See :func:`use_postprocessors`; none: predictions are what the model predicts.
        out_dir: Folder for the label maps of the predictions; ``None``: they are not written.
        num_workers: Processes of the post-processors.

    Returns:
        Whether the predictions are evaluated: whether the split has a mask, or the data set is not one of ours, which
        is left as it is.

    Raises:
        UserError: See the two functions and :func:`check_inference_mode`; also if the split has no image at all, or
            ``out_dir`` is a folder of the test data.
    """
    if out_dir is not None:
        check_output(cfg.test_dataloader.dataset, out_dir)
    check_inference_mode(cfg)
    if tta:
        use_tta(cfg)
    dataset = cfg.test_dataloader.dataset
    if split is not None:
        dataset.split = split
    evaluated = True
    if is_ours(dataset):
        data = DataFolder.of_dataset(dataset)
        evaluated = data.has_masks(dataset.get('split'))
        if not evaluated:
            data.check_images(dataset.get('split'))
            without_masks(cfg)
    if postprocessors is None or postprocessors:
        use_postprocessors(cfg, postprocessors, out_dir=None if out_dir is None else str(out_dir), with_iou=evaluated,
                           num_workers=num_workers)
    elif out_dir is not None:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='PseudoLabelWriter', out_dir=str(out_dir))]
    return evaluated


def check_output(dataset: Mapping[str, Any], out_dir: str | os.PathLike) -> None:
    """Refuses a folder of the data that a config names as a place for what is made of them.

    Args:
        dataset: Config of a data set, or of one wrapped around it or several.
        out_dir: The folder to be written to.

    Raises:
        UserError: If ``out_dir`` is one of the folders of the data or lies in one.
    """
    dataset = innermost(dataset)
    if 'datasets' in dataset:
        for one in dataset['datasets']:
            check_output(one, out_dir)
        return
    if is_ours(dataset) and os.path.isdir(dataset.get('data_root') or '.'):
        DataFolder.of_dataset(dataset).check_output_dir(out_dir)
        return
    folders = [dataset.get(key) for key in ('img_dir', 'seg_dir', 'mask_dir', 'saliency_dir', 'ann_dir')]
    check_output_dir(out_dir, dataset.get('data_root') or '.', *filter(None, folders))


def check_inference_mode(cfg: Config) -> None:
    """Checks ``model.test_cfg`` of a segmentor, which mmsegmentation reads at the first image, after the training.

    Args:
        cfg: Any config; only those of mmsegmentation's ``EncoderDecoder`` have such a mode.

    Raises:
        UserError: For a ``mode`` that there is not, ``'slide'`` without sizes that leave no gap, and a misspelt name.
    """
    cls = part_class(cfg.model.get('type'))
    if not (inspect.isclass(cls) and issubclass(cls, EncoderDecoder)):
        return
    options = cfg.model.get('test_cfg') or {}
    for name in options:
        if name not in MODE_OPTIONS and (meant := difflib.get_close_matches(name, MODE_OPTIONS, n=1, cutoff=ALIKE)):
            raise UserError(f'model.test_cfg.{name}: there is no such setting (closest: {meant[0]!r})')
    mode = options.get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        raise UserError(f"model.test_cfg.mode={mode}: must be 'whole' or 'slide'")
    if mode == 'slide':
        crop, stride = (options.get(name) for name in ('crop_size', 'stride'))
        if not (_is_pair(crop) and _is_pair(stride) and all(0 < s <= c for s, c in zip(stride, crop))):
            raise UserError('model.test_cfg.mode=slide: takes crop_size=(height, width) and stride=(down, right), '
                            f'whole numbers of pixels with stride <= crop_size, got {crop} and {stride}')


def _is_pair(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(isinstance(item, int) for item in value)


def use_tta(cfg: Config) -> Config:
    """Makes a test one at several scales and flipped, as the config's ``tta_model`` and ``tta_pipeline`` say, in place.

    As mmsegmentation's ``--tta``: the model goes into ``tta_model`` as its ``module``, and the pipeline replaces the
    test data's.

    Args:
        cfg: The config of a segmentor.

    Returns:
        ``cfg``.

    Raises:
        UserError: If the config has no such settings.
    """
    if missing := [name for name in ('tta_model', 'tta_pipeline') if not cfg.get(name)]:
        raise UserError(f'{cfg.filename or "the config"}: has no {", ".join(missing)} for a test at several scales, '
                        'see configs/_base_/datasets/voc_seg.py (CAM models have inference_hooks instead)')
    cfg.test_dataloader.dataset.pipeline = copy.deepcopy(cfg.tta_pipeline)
    cfg.model = ConfigDict(cfg.tta_model, module=cfg.model)
    return cfg


def use_postprocessors(cfg: Config, postprocessors: Sequence[dict] | None = None, **options: Any) -> Config:
    """Adds an evaluator of post-processed predictions to a test, in place.

    Args:
        cfg: The config of a segmentor.
        postprocessors: Configs of POSTPROCESSORS; ``None``: the config's ``test_postprocessors``.
        options: Others of :class:`mmwsss.evaluation.RefinedIoUMetric`.

    Returns:
        ``cfg``.

    Raises:
        UserError: If there are none, or ``out_dir`` is a folder of the test data.
    """
    if options.get('out_dir') is not None:
        check_output(cfg.test_dataloader.dataset, options['out_dir'])
    if postprocessors is None:
        postprocessors = cfg.get('test_postprocessors')
    if not postprocessors:
        raise UserError(f'{cfg.filename or "the config"}: has no test_postprocessors; name some, such as '
                        '[dict(type=DenseCRF)], see configs/_base_/datasets/voc_seg.py')
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    cfg.test_evaluator = [*evaluators, dict(type='RefinedIoUMetric', postprocessors=list(postprocessors), **options)]
    return cfg


def show_predictions(cfg: Config, folder: str | Path) -> Config:
    """Makes a test draw its predictions, in place: ``<folder>/<time>/vis_data/vis_image/*.png``.

    Args:
        cfg: The config of a CAM model, whose pictures show the CAM of every class, or of a segmentor, whose pictures
            show ground truth and prediction.
        folder: The folder.

    Returns:
        ``cfg``.

    Raises:
        UserError: If the folder is one of the test data.
    """
    check_output(cfg.test_dataloader.dataset, folder)
    cls = MODELS.get(cfg.model.type) if isinstance(cfg.model.type, str) else cfg.model.type
    is_cam = hasattr(cls, 'compute_cam')
    hook = (dict(type='CAMVisualizationHook', interval=1) if is_cam else
            dict(type='SegVisualizationHook', draw=True))
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    backends = cfg.get('vis_backends') or [dict(type='LocalVisBackend')]
    cfg.visualizer = dict(cfg.get('visualizer') or {}, type='Visualizer' if is_cam else 'SegLocalVisualizer',
                          vis_backends=backends, save_dir=str(folder))
    return cfg


def without_masks(cfg: Config) -> Config:
    """Makes a test one that predicts only, for images without masks, in place.

    Args:
        cfg: The config of a segmentor. Its evaluators go.

    Returns:
        ``cfg``.
    """
    dataset = cfg.test_dataloader.dataset
    dataset.missing_mask = 'none'
    dataset.pipeline = [step for step in dataset.pipeline if step['type'] != 'LoadMask']
    cfg.test_evaluator = []
    return cfg
