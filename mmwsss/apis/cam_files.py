"""Making CAM files, and refining them: test loops whose evaluators write files, and which go on where they stopped."""
import copy
import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmwsss.apis.cam_checks import cam_loaders, check_refinement
from mmwsss.apis.model_folder import is_segmentor
from mmwsss.apis.runner import RunResult, check_settings, test
from mmwsss.config.seg_options import check_output
from mmwsss.config.weight_files import model_as_tested
from mmwsss.datasets import on_rank_zero
from mmwsss.registry import DATASETS
from mmwsss.structures.cam_file import CAMManifest, cam_path, open_cam_dir, read_cam, read_manifest
from mmwsss.structures.label_file import label_path
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.dist import init_dist
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_file, sha256_of_json


def make_cam(cfg: Config, checkpoint: str | Path, out_dir: str | Path, split: str | None = None,
             work_dir: str | Path | None = None, launcher: str = 'none') -> RunResult:
    """Makes the CAM files of a split with the config's test loop.

    An existing CAM file is kept if the folder's manifest names the same checkpoint and config. Batches are always
    formed from the whole split, so a resumed run writes the same bytes.

    Args:
        cfg: A CAM config from :func:`mmwsss.config.config.load_config`.
        checkpoint: The checkpoint.
        out_dir: Folder of the CAM files, one ``<stem>.npz`` per image.
        split: Split to make CAMs for; ``None``: the one of the config's test data.
        work_dir: Folder for logs; default ``out_dir``/logs.
        launcher: How the processes were started.

    Returns:
        ``metrics`` has ``num_cams``, the number of CAM files made in this call; ``skipped`` the images without CAM.

    Raises:
        UserError: If ``out_dir`` is a folder of the data or holds CAM files of another checkpoint or config, or the
            config is of a segmentor or refines CAMs.
    """
    if cam_loaders(cfg):
        raise UserError(f'{cfg.filename or "the config"}: refines CAMs (LoadCAM); use mmwsss refine')
    if is_segmentor(cfg):
        raise UserError(f'{cfg.filename or "the config"}: is of a segmentor, which makes no CAMs; name the config of a '
                        'CAM model')
    class_filter = (cfg.get('model') or {}).get('test_cfg', {}).get('class_filter', 'label')
    return _write_cams(cfg, checkpoint, out_dir, split, work_dir or Path(out_dir) / 'logs', launcher,
                       extra=dict(class_filter=class_filter))


def refine_cam(cfg: Config, checkpoint: str | Path, cam_dir: str | Path, out_dir: str | Path,
               split: str | None = None, work_dir: str | Path | None = None, launcher: str = 'none',
               background: dict | None = None, postprocessors: Sequence[dict] = ()) -> RunResult:
    """Refines CAM files by a trained AffinityNet or IRNet, with the config's test loop.

    Existing files are kept as in :func:`make_cam`, unless their input is newer.

    Args:
        cfg: The config of a model that takes CAMs, from :func:`mmwsss.config.config.load_config`. Its test pipeline has
            a ``LoadCAM``.
        checkpoint: The checkpoint.
        cam_dir: Folder of the CAM files to refine.
        out_dir: Gets a folder ``cam`` of refined CAM files and a folder ``labels`` of label maps ``<stem>.png``.
        split: Split of the images; ``None``: the one of the config's test data.
        work_dir: Folder for logs; default ``out_dir``/logs.
        launcher: How the processes were started.
        background: Makes the label maps from the refined CAMs, see :func:`mmwsss.postprocessing.pseudo_label`;
            ``None``: they are those that the model predicts.
        postprocessors: Configs of POSTPROCESSORS for label maps with ``background``, e.g. a dense CRF. They run in
            worker processes while the model goes on.

    Returns:
        ``metrics`` has ``num_cams`` and ``num_labels``, the numbers of files made in this call; ``skipped`` the images
        without.

    Raises:
        UserError: If the config loads no CAMs, or a CAM is missing, damaged or of other classes than the data; or if
            ``out_dir`` holds files of another checkpoint, config or input, or label maps of something else, or is a
            folder of the data.
    """
    check_settings(cfg, 'test_dataloader', 'test_cfg')
    cfg, out_dir = copy.deepcopy(cfg), Path(out_dir)
    if not (loaders := cam_loaders(cfg)):
        raise UserError(f'{cfg.filename or "the config"}: loads no CAMs in its test pipeline (LoadCAM); name the '
                        'config of an AffinityNet or IRNet')
    for loader in loaders:
        loader.cam_dir = str(cam_dir)
    if (out_dir / 'cam').resolve() == Path(cam_dir).resolve():
        raise UserError(f'{out_dir / "cam"}: is the folder of the CAMs to refine; choose another --out-dir')
    source = read_manifest(cam_dir)
    labels = dict(background=background, postprocessors=list(postprocessors))
    return _write_cams(cfg, checkpoint, out_dir / 'cam', split, work_dir or out_dir / 'logs', launcher,
                       extra=dict(class_filter=source.extra.get('class_filter'), refined=dataclasses.asdict(source),
                                  **labels),
                       label_writer=dict(type='PseudoLabelWriter', out_dir=str(out_dir / 'labels'), **labels),
                       source_dir=cam_dir)


def _write_cams(cfg: Config, checkpoint: str | Path, out_dir: str | Path, split: str | None, work_dir: str | Path,
                launcher: str, extra: dict, label_writer: dict | None = None,
                source_dir: str | Path | None = None) -> RunResult:
    check_settings(cfg, 'test_dataloader', 'test_cfg')
    cfg = copy.deepcopy(cfg)
    init_dist(launcher)
    dataset = cfg.test_dataloader.dataset
    for folder in (out_dir, *([label_writer['out_dir']] if label_writer else ())):
        check_output(dataset, folder)
    dataset.pop('require_masks', None)  # only a test looks at masks
    if split is not None:
        dataset.split = split
    if not Path(checkpoint).is_file():
        raise UserError(f'{checkpoint}: no such checkpoint')
    if not cfg.test_dataloader.get('batch_sampler'):
        raise UserError('CAM files need test_dataloader.batch_sampler=dict(type=SameSizeBatchSampler), which deals '
                        'whole batches to the processes')
    stride = cfg.model.get('test_cfg', {}).get('stride', 4)
    max_side = dict(max_side=cfg.test_cfg.max_side) if cfg.test_cfg.get('max_side') else {}
    cfg.test_evaluator = [dict(type='CAMWriter', out_dir=str(out_dir), stride=stride)]
    existing = dict(dir=str(out_dir), suffix='.npz')
    if label_writer is not None:
        # An image is done when its label is there, which is written after its CAM file, maybe much later.
        cfg.test_evaluator.append(label_writer)
        existing = dict(dir=label_writer['out_dir'], suffix='.png')
    cfg.test_dataloader.batch_sampler.skip_existing = existing
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    samples = DATASETS.build(dataset)  # by all processes: they share the work of listing it
    if source_dir is not None:
        check_refinement(source_dir, out_dir, label_writer, samples.metainfo['classes'])
    is_new = not Path(out_dir, MANIFEST_NAME).exists()
    on_rank_zero(lambda: open_cam_dir(out_dir, CAMManifest(
        checkpoint_sha256=sha256_of_file(checkpoint), config_hash=cam_config_hash(cfg),
        classes=samples.metainfo['classes'], extra=dict(extra, stride=stride, **max_side))))
    on_rank_zero(lambda: remove_stale_cams(out_dir, samples, extra['class_filter'], source_dir,
                                           label_writer and label_writer['out_dir']))
    try:
        return test(cfg, checkpoint, work_dir, launcher)
    except UserError:
        # Such as a checkpoint of another model: its manifest would refuse the right one.
        if is_new and is_main_process() and next(Path(out_dir).rglob('*.npz'), None) is None:
            Path(out_dir, MANIFEST_NAME).unlink(missing_ok=True)
        raise


def remove_stale_cams(out_dir: str | Path, dataset: Dataset, class_filter: str | None,
                      source_dir: str | Path | None = None, label_dir: str | Path | None = None) -> int:
    """Removes the CAM files of images that have changed since.

    These are files that are older than their image (or than the CAM that they were refined from), whose image has
    another size, which cannot be read, or whose classes are not those of the image's label (under the class filter
    ``'label'``).

    Args:
        out_dir: Folder of the CAM files.
        dataset: The images, with ``stem``, ``img_path``, ``height``, ``width`` and ``gt_img_label``.
        class_filter: What the CAM files were chosen by.
        source_dir: Folder of the CAM files that they were refined from, if they were.
        label_dir: Folder of label maps that were written with them: those of removed or missing CAM files go too.

    Returns:
        How many were removed.
    """
    removed = 0
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = cam_path(out_dir, info['stem'])
        sources = [info['img_path'], *([cam_path(source_dir, info['stem'])] if source_dir else ())]
        if path.exists() and _is_stale(path, sources, info, class_filter):
            path.unlink()
            removed += 1
        if label_dir is not None and not path.exists():
            label_path(label_dir, info['stem']).unlink(missing_ok=True)
    if removed:
        print_log(f'{out_dir}: {removed} CAM files do not belong to the images and labels of now; they are made again',
                  logger='current', level=logging.WARNING)
    return removed


def _is_stale(path: Path, sources: Sequence[str | Path], info: dict, class_filter: str | None) -> bool:
    if any(path.stat().st_mtime_ns < os.stat(source).st_mtime_ns for source in sources if os.path.exists(source)):
        return True
    try:
        cam_file = read_cam(path)
    except UserError:
        return True
    label = info.get('gt_img_label')
    return (cam_file.size != (info['height'], info['width'])
            or (class_filter == 'label' and label is not None
                and cam_file.classes.tolist() != label.nonzero()[0].tolist()))


def cam_config_hash(cfg: Config) -> str:
    """Returns the sha256 of what decides the content of CAM files besides checkpoint and images.

    These are the model (see :func:`mmwsss.config.weight_files.model_as_tested`), the test pipeline (where it finds CAMs
    to refine does not count: the manifest holds theirs) and the precision.
    """
    return sha256_of_json(dict(model=model_as_tested(cfg.model.to_dict()), test_cfg=cfg.test_cfg.to_dict(),
                               pipeline=[{key: value for key, value in step.items() if key != 'cam_dir'}
                                         for step in cfg.test_dataloader.dataset.get('pipeline') or ()],
                               channels_last=any(h.get('type') == 'ChannelsLastHook'
                                                 for h in cfg.get('custom_hooks') or ())))
