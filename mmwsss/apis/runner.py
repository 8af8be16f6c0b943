"""Training, testing and making CAMs: thin functions around MMEngine's Runner."""
import copy
import dataclasses
import itertools
import logging
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import Dataset

from mmwsss.apis.cam_checks import check_refinement
from mmwsss.apis.config import backbones_of
from mmwsss.datasets import on_rank_zero
from mmwsss.datasets.checks import check_batch_size
from mmwsss.engine.checkpoint import load_weights_strict, trained_classes
from mmwsss.registry import DATASETS
from mmwsss.structures.cam_file import CAMManifest, cam_path, open_cam_dir, read_cam, read_manifest
from mmwsss.structures.label_file import label_path
from mmwsss.utils.dist import init_dist, patch_cfg_for_cpu_ddp
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import naming_errors, sha256_of_file, sha256_of_json
from mmwsss.utils.memory import keep_freed_memory

_RUN_NUMBER = itertools.count()


@dataclass
class RunResult:
    """What a run leaves behind.

    Attributes:
        checkpoint: The checkpoint that was written (training) or tested.
        metrics: The metrics of a test; numbers that are not finite are ``None``, as json has none.
        omissions: (file, reason) for every file of the data set that was left out.
    """
    checkpoint: Path
    metrics: dict = field(default_factory=dict)
    omissions: list[tuple[str, str]] = field(default_factory=list)


def prepare_run(cfg: Config, work_dir: str | Path, launcher: str = 'none') -> Config:
    """Sets work folder, launcher and threads of a run, and starts the process group, in place.

    Args:
        cfg: The config. ``num_threads`` in it sets torch's threads per process.
        work_dir: Folder for logs and checkpoints.
        launcher: See :func:`mmwsss.utils.dist.init_dist`.

    Returns:
        ``cfg``.
    """
    cfg.work_dir = str(work_dir)
    cfg.launcher = launcher
    # MMEngine keeps loggers and message hubs by this name for the life of the process, and a pipeline
    # has several runs in one process.
    cfg.experiment_name = f'{Path(work_dir).name}_{os.getpid()}_{next(_RUN_NUMBER)}'
    init_dist(launcher)
    patch_cfg_for_cpu_ddp(cfg)
    if not torch.cuda.is_available():
        keep_freed_memory()
    seed = (cfg.get('randomness') or {}).get('seed')
    for name, value in (('num_threads', cfg.get('num_threads')), ('randomness.seed', seed)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise UserError(f'{name}: must be a whole number, or None for the default, not {value!r}')
    if cfg.get('num_threads'):
        torch.set_num_threads(cfg.num_threads)
    return cfg


def find_latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Returns the checkpoint that a work folder's ``last_checkpoint`` names.

    Where there is no such file or checkpoint: the ``epoch_N.pth`` or ``iter_N.pth`` of the largest N, or ``None``.
    Checkpoints are written atomically, so what is there is whole.
    """
    named = Path(work_dir) / 'last_checkpoint'
    if named.is_file():
        # By name in this folder, which may have been moved since.
        path = Path(work_dir) / Path(named.read_text().strip()).name
        if path.is_file():
            return path
    found = [(int(match[1]), path) for path in Path(work_dir).glob('*.pth')
             if (match := re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name))]
    return max(found)[1] if found else None


def train(cfg: Config, work_dir: str | Path, resume: bool = False, launcher: str = 'none') -> RunResult:
    """Trains a config.

    Args:
        cfg: A config from :func:`mmwsss.apis.config.load_config`.
        work_dir: Folder for logs and checkpoints.
        resume: Go on from the newest checkpoint in ``work_dir``, if there is one.
        launcher: How the processes were started.

    Returns:
        The last checkpoint, and what was left out of the training data.

    Raises:
        UserError: If the training wrote no checkpoint.
    """
    _check_settings(cfg, 'train_dataloader', 'train_cfg', 'optim_wrapper')
    check_pretrained(cfg)
    prepare_run(cfg, work_dir, launcher)
    latest = find_latest_checkpoint(work_dir) if resume else None
    cfg.resume = latest is not None
    if latest is not None:
        cfg.load_from = str(latest)
    with naming_errors(work_dir):
        runner = Runner.from_cfg(cfg)
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            loader = runner.train_loop.dataloader
            check_batch_size(len(loader.dataset), loader.batch_size, loader.drop_last, runner.world_size)
        runner.train()
    # Persistent workers would be waited for, five seconds each, whenever the garbage collector comes to them.
    runner.train_dataloader._iterator = None
    barrier()  # the main process writes the checkpoints
    checkpoint = find_latest_checkpoint(work_dir)
    if checkpoint is None:
        raise UserError(f'{work_dir}: the training wrote no checkpoint; set default_hooks.checkpoint.interval')
    return RunResult(checkpoint, omissions=_omissions(runner.train_dataloader.dataset))


def check_pretrained(cfg: Config) -> None:
    """Refuses to train a backbone whose frozen part would have random weights.

    Args:
        cfg: The config of a training.

    Raises:
        UserError: If a backbone has frozen stages, and neither ``load_from`` nor an ``init_cfg`` of its own or of a
            model around it gives it weights.
    """
    for path, backbone in backbones_of(cfg.model):
        has_weights = cfg.get('load_from') or any(part.get('init_cfg') or part.get('pretrained')
                                                  for part in _parts_on_the_way(cfg.model, path))
        if (backbone.get('frozen_stages') or 0) > 0 and not has_weights:
            raise UserError(
                f'{backbone.get("type")}: frozen_stages={backbone["frozen_stages"]}, but there are no pretrained '
                f'weights; give them with --cfg-options {path}.init_cfg.type=StrictPretrained '
                f'{path}.init_cfg.checkpoint=FILE, or train all of it with {path}.frozen_stages=0')


def _parts_on_the_way(model: dict, path: str) -> list[dict]:
    # The dicts from the model to what a path of backbones_of names.
    parts = [model]
    for name in path.split('.')[1:]:
        parts.append(parts[-1][int(name)] if isinstance(parts[-1], (list, tuple)) else parts[-1][name])
    return [part for part in parts if isinstance(part, dict)]


def _check_settings(cfg: Config, *names: str) -> None:
    if missing := [name for name in ('model', *names) if not cfg.get(name)]:
        raise UserError(f'{cfg.filename or "the config"}: has no {", ".join(missing)}; name a config that has')


def test(cfg: Config, checkpoint: str | Path, work_dir: str | Path, launcher: str = 'none') -> RunResult:
    """Tests a checkpoint with the config's test loop and evaluators.

    Args:
        cfg: A config from :func:`mmwsss.apis.config.load_config`.
        checkpoint: The checkpoint; it must fit the model key by key.
        work_dir: Folder for logs.
        launcher: How the processes were started.

    Returns:
        The metrics, and what was left out of the test data.

    Raises:
        UserError: If the checkpoint belongs to another model or to other classes.
    """
    _check_settings(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
    prepare_run(cfg, work_dir, launcher)
    cfg.load_from, cfg.resume = None, False
    for unused in ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'val_cfg',
                   'val_dataloader', 'val_evaluator'):
        cfg.pop(unused, None)
    with naming_errors(work_dir):
        runner = Runner.from_cfg(cfg)
        dataset = runner.test_loop.dataloader.dataset
        load_for_inference(runner.model, checkpoint, dataset.metainfo.get('classes'))
        metrics = runner.test()
    return RunResult(Path(checkpoint), {key: _json_value(value) for key, value in metrics.items()},
                     _omissions(dataset))


def _json_value(value):
    value = value.item() if hasattr(value, 'item') else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_for_inference(model: torch.nn.Module, checkpoint: str | Path, classes: tuple[str, ...] | None) -> None:
    """Loads a checkpoint that must fit the model and the class list.

    Args:
        model: The model, or what is wrapped around it: for test-time augmentation, for a distributed run, or both.
        checkpoint: The checkpoint file.
        classes: The class names of the data; compared with those in the checkpoint where it has some.

    Raises:
        UserError: If keys or shapes differ, or if the classes differ or stand in another order (a model that is
            ``class_agnostic`` serves any).
    """
    if is_model_wrapper(model):
        model = model.module
    if isinstance(model, BaseTTAModel):
        model = model.module
    trained = trained_classes(load_weights_strict(model, checkpoint))
    class_agnostic = getattr(getattr(model, 'module', model), 'class_agnostic', False)
    if trained and classes and not class_agnostic and trained != tuple(classes):
        raise UserError(f'{checkpoint}: was trained with the classes {trained}, but the data has '
                        f'{tuple(classes)}; use the class list and the order of the training')


def make_cam(cfg: Config, checkpoint: str | Path, out_dir: str | Path, split: str | None = None,
             work_dir: str | Path | None = None, launcher: str = 'none') -> RunResult:
    """Makes the CAM files of a split with the config's test loop.

    A CAM file that is there is not made again when the folder's manifest says that it comes from the same
    checkpoint and config. Batches are formed from the whole split whether or not files exist, so a resumed
    run writes the same bytes.

    Args:
        cfg: A CAM config from :func:`mmwsss.apis.config.load_config`.
        checkpoint: The checkpoint.
        out_dir: Folder of the CAM files, one ``<stem>.npz`` per image.
        split: Split to make CAMs for; ``None``: the one of the config's test data.
        work_dir: Folder for logs; default ``out_dir``/logs.
        launcher: How the processes were started.

    Returns:
        ``metrics`` has ``num_cams``, how many were made now; ``omissions`` the images without CAM.

    Raises:
        UserError: If ``out_dir`` holds CAM files of another checkpoint or config.
    """
    gate = (cfg.get('model') or {}).get('test_cfg', {}).get('gate', 'label')
    return _write_cams(cfg, checkpoint, out_dir, split, work_dir or Path(out_dir) / 'logs', launcher,
                       extra=dict(cam_gate=gate))


def refine_cam(cfg: Config, checkpoint: str | Path, cam_dir: str | Path, out_dir: str | Path,
               split: str | None = None, work_dir: str | Path | None = None, launcher: str = 'none',
               background: dict | None = None, postprocessors: Sequence[dict] = ()) -> RunResult:
    """Refines CAM files by a trained AffinityNet or IRNet, with the config's test loop.

    Files that are there are kept as :func:`make_cam` keeps them, unless their input is newer.

    Args:
        cfg: The config of a model that takes CAMs, from :func:`mmwsss.apis.config.load_config`. Its test pipeline has
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
        ``metrics`` has ``num_cams`` and ``num_labels``, how many were made now; ``omissions`` the images left out.

    Raises:
        UserError: If the config loads no CAMs, or a CAM is missing, damaged or of other classes than the data; or if
            ``out_dir`` holds files of another checkpoint, config or input, or label maps of something else.
    """
    _check_settings(cfg, 'test_dataloader', 'test_cfg')
    cfg, out_dir = copy.deepcopy(cfg), Path(out_dir)
    loaders = [step for step in cfg.test_dataloader.dataset.get('pipeline') or () if step.get('type') == 'LoadCAM']
    if not loaders:
        raise UserError(f'{cfg.filename or "the config"}: loads no CAMs in its test pipeline (LoadCAM); name the '
                        'config of an AffinityNet or IRNet')
    for loader in loaders:
        loader.cam_dir = str(cam_dir)
    if (out_dir / 'cam').resolve() == Path(cam_dir).resolve():
        raise UserError(f'{out_dir / "cam"}: is the folder of the CAMs to refine; choose another --out-dir')
    source = read_manifest(cam_dir)
    labels = dict(background=background, postprocessors=list(postprocessors))
    return _write_cams(cfg, checkpoint, out_dir / 'cam', split, work_dir or out_dir / 'logs', launcher,
                       extra=dict(cam_gate=source.extra.get('cam_gate'), refined=dataclasses.asdict(source), **labels),
                       label_writer=dict(type='PseudoLabelWriter', out_dir=str(out_dir / 'labels'), **labels),
                       source_dir=cam_dir)


def _write_cams(cfg: Config, checkpoint: str | Path, out_dir: str | Path, split: str | None, work_dir: str | Path,
                launcher: str, extra: dict, label_writer: dict | None = None,
                source_dir: str | Path | None = None) -> RunResult:
    _check_settings(cfg, 'test_dataloader', 'test_cfg')
    cfg = copy.deepcopy(cfg)
    init_dist(launcher)
    dataset = cfg.test_dataloader.dataset
    dataset.pop('require_masks', None)  # only a test looks at masks
    if split is not None:
        dataset.split = split
    if not Path(checkpoint).is_file():
        raise UserError(f'{checkpoint}: no such checkpoint')
    if not cfg.test_dataloader.get('batch_sampler'):
        raise UserError('CAM files need test_dataloader.batch_sampler=dict(type=SameSizeBatchSampler), which deals '
                        'whole batches to the processes')
    stride = cfg.model.get('test_cfg', {}).get('stride', 4)
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
    on_rank_zero(lambda: open_cam_dir(out_dir, CAMManifest(
        checkpoint_sha256=sha256_of_file(checkpoint), config_hash=cam_config_hash(cfg),
        classes=samples.metainfo['classes'], extra=dict(extra, stride=stride))))
    on_rank_zero(lambda: remove_stale_cams(out_dir, samples, extra['cam_gate'], source_dir,
                                           label_writer and label_writer['out_dir']))
    return test(cfg, checkpoint, work_dir, launcher)


def remove_stale_cams(out_dir: str | Path, dataset: Dataset, gate: str | None,
                      source_dir: str | Path | None = None, label_dir: str | Path | None = None) -> int:
    """Removes the CAM files of images that have changed since.

    These are files that are older than their image (or than the CAM that they were refined from), whose image has
    another size, which cannot be read, or whose classes are not those of the image's label (under the gate
    ``'label'``).

    Args:
        out_dir: Folder of the CAM files.
        dataset: The images, with ``stem``, ``img_path``, ``height``, ``width`` and ``gt_img_label``.
        gate: What the CAM files were gated by.
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
        if path.exists() and _is_stale(path, sources, info, gate):
            path.unlink()
            removed += 1
        if label_dir is not None and not path.exists():
            label_path(label_dir, info['stem']).unlink(missing_ok=True)
    if removed:
        print_log(f'{out_dir}: {removed} CAM files do not belong to the images and labels of now; they are made again',
                  logger='current', level=logging.WARNING)
    return removed


def _is_stale(path: Path, sources: Sequence[str | Path], info: dict, gate: str | None) -> bool:
    if any(path.stat().st_mtime_ns < os.stat(source).st_mtime_ns for source in sources if os.path.exists(source)):
        return True
    try:
        cam_file = read_cam(path)
    except UserError:
        return True
    label = info.get('gt_img_label')
    return (cam_file.size != (info['height'], info['width'])
            or (gate == 'label' and label is not None and cam_file.classes.tolist() != label.nonzero()[0].tolist()))


def cam_config_hash(cfg: Config) -> str:
    """Returns the sha256 of what decides the content of CAM files besides checkpoint and images.

    These are the model (how backbones were initialised before training does not count), the test pipeline (where
    it finds CAMs to refine does not count: the manifest holds theirs) and the precision.
    """
    model = cfg.model.to_dict()
    for _, backbone in backbones_of(model):
        backbone.pop('init_cfg', None)
    return sha256_of_json(dict(model=model, test_cfg=cfg.test_cfg.to_dict(),
                               pipeline=[{key: value for key, value in step.items() if key != 'cam_dir'}
                                         for step in cfg.test_dataloader.dataset.get('pipeline') or ()],
                               channels_last=any(h.get('type') == 'ChannelsLastHook'
                                                 for h in cfg.get('custom_hooks') or ())))


def _omissions(dataset) -> list[tuple[str, str]]:
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return list(getattr(dataset, 'omissions', ()))
