"""Pseudo labels from CAM files: background, post-processing, palette PNGs."""
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from mmwsss.datasets import load_classes, read_split
from mmwsss.datasets.layout import IMAGE_EXTENSIONS, check_output_dir, find_files_anywhere
from mmwsss.postprocessing import DEFAULT_BACKGROUND, Postprocessor, build_postprocessors, pseudo_label
from mmwsss.postprocessing.background import check_background
from mmwsss.structures.cam_file import MANIFEST_NAME, CAMManifest, cam_path, read_cam, read_manifest
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import IGNORE, label_path, read_label, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import remove_leftovers, sha256_of_json, write_json
from mmwsss.utils.parallel import default_num_workers, limit_threads, progress_bar

# 255 in a label file means "ignore", so the largest class id is 253 (its label is 254).
MAX_CLASSES = 254


def label_settings(config: Config, cfg_options: dict | None = None, name: str = 'the config') -> dict[str, Any]:
    """Returns how a config says that labels are made of CAMs.

    Args:
        config: May have ``background`` and ``postprocessors``, and nothing else but ``custom_imports``.
        cfg_options: Settings that override it, with dotted keys.
        name: What to call it in an error.

    Returns:
        ``background`` and ``postprocessors`` as plain values; defaults for what is missing.

    Raises:
        UserError: If the options do not fit, or there is any other setting.
    """
    try:
        config.merge_from_dict(cfg_options or {})
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f'--cfg-options: {error}') from error
    settings = {'background': DEFAULT_BACKGROUND, 'postprocessors': [], **config.to_dict()}
    if unknown := sorted(set(settings) - {'background', 'postprocessors', 'custom_imports'}):
        raise UserError(f'{name}: unknown setting {", ".join(unknown)}; known are background and postprocessors')
    return {key: settings[key] for key in ('background', 'postprocessors')}


def make_pseudo_labels(cam_dir: str | os.PathLike,
                       data_root: str | os.PathLike,
                       split: str | None,
                       out_dir: str | os.PathLike,
                       background: Mapping = DEFAULT_BACKGROUND,
                       postprocessors: Sequence[Mapping] = (),
                       num_workers: int | None = None,
                       classes: Sequence[str] | None = None,
                       missing_cam: str = 'error',
                       img_dir: str = 'JPEGImages') -> dict[str, Any]:
    """Makes the pseudo labels of a split: ``<stem>.png`` for every image, and ``manifest.json``.

    Interrupted, it resumes: a label that exists is kept if the folder's manifest says that it was
    made from the same CAMs with the same settings, and if neither its CAM file nor its image is newer. The
    files are the same bytes for any number of workers.

    Args:
        cam_dir: Folder of CAM files with their manifest.
        data_root: Folder of the data set.
        split: Name of the split, or ``None`` for all images.
        out_dir: Folder for the labels.
        background: See :func:`pseudo_label`.
        postprocessors: Configs of POSTPROCESSORS, applied in this order.
        num_workers: Worker processes; 0 works in this process, ``None`` takes one per CPU.
        classes: Names of the foreground classes; ``None`` takes the data set's.
        missing_cam: 'error', or 'skip' to leave images without a CAM file out.
        img_dir: Folder of the images, below ``data_root`` or absolute. Its sub folders are searched.

    Returns:
        A summary: ``num_images``; ``made`` and ``kept``, the numbers of labels written now and
        found; ``omissions``, a list of (path, reason) of what was left out; ``background_share`` and
        ``ignored_share``, the fractions of background pixels and of ignored ones over all labels.

    Raises:
        UserError: If a setting is wrong; if a CAM is missing although its image can be read; if
            ``out_dir`` holds labels made in another way; if not a single label can be made.
    """
    cam_dir, data_root, out_dir = Path(cam_dir), Path(data_root), Path(out_dir)
    if missing_cam not in ('error', 'skip'):
        raise UserError(f"missing_cam must be 'error' or 'skip', got {missing_cam!r}")
    if num_workers is None:
        num_workers = default_num_workers()
    if not isinstance(num_workers, int) or num_workers < 0:
        raise UserError(f'num_workers must be at least 0, got {num_workers}')
    check_background(background)
    built = build_postprocessors(postprocessors)
    stems = read_split(data_root, split, img_dir)
    manifest = read_manifest(cam_dir)
    names = _class_names(cam_dir, data_root, classes, manifest)
    settings = {
        'background': dict(background),
        'postprocessors': [dict(config) for config in postprocessors],
        'classes': names,
        'cam_manifest_sha256': sha256_of_json(dataclasses.asdict(manifest)),
    }
    # As json will give it back, so that settings equal themselves once read.
    settings = json.loads(json.dumps(settings, default=str))
    check_output_dir(out_dir, data_root, img_dir)
    is_new = _is_new_label_dir(out_dir, cam_dir, settings)
    jobs = _Jobs(stems, cam_dir, data_root / img_dir, out_dir, background, built, len(names))
    omissions = jobs.check_missing(skip=missing_cam == 'skip')
    jobs.stems = [stem for stem in stems if stem not in omissions]
    if is_new:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_json(out_dir / MANIFEST_NAME, settings)
    remove_leftovers(out_dir, recursive=True)

    made = kept = pixels = background_pixels = ignored_pixels = 0
    loader = DataLoader(jobs, batch_size=None, num_workers=min(num_workers, len(jobs)), worker_init_fn=limit_threads)
    with progress_bar() as progress:
        for outcome in progress.track(loader, len(jobs), description='pseudo labels'):
            if outcome.write_error is not None:
                raise outcome.write_error
            if outcome.omission is not None:
                omissions[outcome.stem] = outcome.omission
                continue
            made += not outcome.kept
            kept += outcome.kept
            pixels += outcome.pixels
            background_pixels += outcome.background_pixels
            ignored_pixels += outcome.ignored_pixels
    if len(omissions) == len(stems):
        path, reason = omissions[stems[0]]
        raise UserError(f'{path}: {reason} (and not one of the {len(stems)} labels could be made)')
    return {
        'num_images': len(stems),
        'made': made,
        'kept': kept,
        'omissions': [omissions[stem] for stem in stems if stem in omissions],
        'background_share': background_pixels / pixels,
        'ignored_share': ignored_pixels / pixels,
    }


@dataclasses.dataclass
class _Outcome:
    stem: str
    kept: bool = False
    pixels: int = 0
    background_pixels: int = 0
    ignored_pixels: int = 0
    omission: tuple[str, str] | None = None
    # The exception itself: raised in a worker, it would arrive without its errno and file name.
    write_error: OSError | None = None


class _Jobs(Dataset):
    """Item i makes and writes the label of image i; a DataLoader spreads them over processes.

    A DataLoader's workers end when their parent is killed, which those of a plain process pool do not.
    """

    def __init__(self, stems: list[str], cam_dir: Path, img_dir: Path, out_dir: Path, background: Mapping,
                 postprocessors: list[Postprocessor], num_classes: int) -> None:
        self.stems = stems
        self.cam_dir = cam_dir
        self.img_dir = img_dir
        self.images = find_files_anywhere(img_dir, IMAGE_EXTENSIONS)
        self.out_dir = out_dir
        self.background = background
        self.postprocessors = postprocessors
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> _Outcome:
        stem = self.stems[index]
        label = self.existing(stem)
        kept = label is not None
        if not kept:
            path = cam_path(self.cam_dir, stem)
            try:
                cam_file = read_cam(path)
                if len(cam_file.classes) and cam_file.classes.max() >= self.num_classes:
                    raise UserError(f'has class id {cam_file.classes.max()}, but there are {self.num_classes} '
                                    'classes; make it again')
                path = self.image_path(stem)
                label = pseudo_label(cam_file, read_image(path), self.background, self.postprocessors)
            except UserError as error:
                return _Outcome(stem, omission=_omission(path, error))
            try:
                write_label(label_path(self.out_dir, stem), label)
            except OSError as error:
                return _Outcome(stem, write_error=error)
        return _Outcome(stem, kept, label.size, int((label == 0).sum()), int((label == IGNORE).sum()))

    def image_path(self, stem: str) -> str:
        return self.images.get(stem, str(self.img_dir / f'{stem}.jpg'))

    def existing(self, stem: str) -> np.ndarray | None:
        """Returns the label that a former run wrote.

        ``None`` if there is none that can be read, or if CAM file or image are newer.
        """
        path = label_path(self.out_dir, stem)
        try:
            label = read_label(path)
        except UserError:
            return None
        sources = [source for source in (cam_path(self.cam_dir, stem), Path(self.image_path(stem))) if source.exists()]
        written = path.stat().st_mtime_ns
        return label if all(source.stat().st_mtime_ns <= written for source in sources) else None

    def check_missing(self, skip: bool) -> dict[str, tuple[str, str]]:
        """Returns stem -> omission for the images that have no CAM and rightly so.

        Args:
            skip: Any missing CAM is an omission. Else only that of an unreadable image, which
                make_cam.py leaves out.

        Raises:
            UserError: If any other CAM is missing.
        """
        missing = {stem: cam_path(self.cam_dir, stem) for stem in self.stems}
        missing = {stem: path for stem, path in missing.items()
                   if not path.exists() and not label_path(self.out_dir, stem).exists()}
        if skip:
            return {stem: (str(path), 'no such CAM file') for stem, path in missing.items()}
        omissions = {}
        for stem, path in missing.items():
            if stem not in self.images:  # a hidden file counts as none, as in the data set
                omissions[stem] = (self.image_path(stem), 'no such image')
                continue
            try:
                read_image(self.image_path(stem))
            except UserError as error:
                omissions[stem] = _omission(self.image_path(stem), error)
            else:
                raise UserError(f'{path}: no such CAM file ({len(missing)} of {len(self.stems)} are missing); run '
                                'tools/make_cam.py with the same split and --out-dir: it makes what is missing. Images '
                                "that are to have none are left out with missing_cam='skip' (--missing-cam skip)")
        return omissions


def _omission(path: str | os.PathLike, error: UserError) -> tuple[str, str]:
    return str(path), str(error).removeprefix(f'{path}: ')


def _class_names(cam_dir: Path, data_root: Path, classes: Sequence[str] | None, manifest: CAMManifest) -> list[str]:
    # VOC itself has no classes.txt; the manifest knows the names that the CAMs were made with.
    if classes is None and not (data_root / 'classes.txt').exists():
        classes = manifest.classes
    names = list(load_classes(data_root, classes))
    if len(names) > MAX_CLASSES:
        raise UserError(f'{data_root}: {len(names)} classes; a label file can hold {MAX_CLASSES}')
    if names != list(manifest.classes):
        raise UserError(f'{cam_dir / "manifest.json"}: the CAMs are of the classes {list(manifest.classes)}, but the '
                        f'data has {names}; give the right --data-root or --classes, or make the CAMs again')
    return names


def _is_new_label_dir(out_dir: Path, cam_dir: Path, settings: dict[str, Any]) -> bool:
    """Checks that the labels in ``out_dir`` were made with ``settings``; returns whether it has none yet."""
    if out_dir.resolve() == cam_dir.resolve():
        raise UserError(f'{out_dir}: is the folder of the CAMs; choose another folder for the labels')
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f'{out_dir}: is a file; choose a folder for the labels')
    path = out_dir / MANIFEST_NAME
    if not path.exists():
        if next(out_dir.glob('*.png'), None) is not None:
            raise UserError(f'{out_dir}: has png files but no {MANIFEST_NAME}, so it is not known how they were made; '
                            'choose another folder for the labels')
        return True
    try:
        found = json.loads(path.read_bytes())
        differing = [key for key in settings if found.get(key) != settings[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f'{path}: cannot be read ({error}); delete the folder or choose another one') from error
    if differing:
        raise UserError(f'{path}: the labels there were made with other settings ({", ".join(differing)}); choose '
                        'another folder, or delete this one to make them again')
    return False
