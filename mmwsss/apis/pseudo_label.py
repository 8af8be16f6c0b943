"""Pseudo labels from CAM files: background, post-processing, palette PNGs."""
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmwsss.datasets import DataFolder
from mmwsss.datasets.preflight import check_saliency_values
from mmwsss.datasets.transforms.loading import read_saliency
from mmwsss.postprocessing import DEFAULT_BACKGROUND, Postprocessor, build_postprocessors, write_pseudo_label
from mmwsss.postprocessing.background import AUTO, check_background, choose_threshold, needs_saliency
from mmwsss.structures.cam_file import CAMManifest, cam_path, read_cam, read_manifest
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import IGNORE, label_path, read_label
from mmwsss.structures.settings_folder import MANIFEST_NAME, SettingsFolder
from mmwsss.utils.errors import UserError, check_missing
from mmwsss.utils.fileio import sha256_of_file, sha256_of_json
from mmwsss.utils.parallel import check_num_workers, parallel_map, progress_bar

# 255 in a label file means "ignore", so the largest class id is 253 (its label is 254).
MAX_CLASSES = 254


def label_settings(config: Config, cfg_options: dict | None = None, name: str = 'the config') -> dict[str, Any]:
    """Returns how a config says that labels are made of CAMs.

    Args:
        config: May have ``background`` and ``postprocessors``, and nothing else but ``custom_imports``.
        cfg_options: Settings that override it, with dotted keys.
        name: What to call it in an error.

    Returns:
        ``background`` and ``postprocessors`` as built-in types; defaults for what is missing.

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


def make_pseudo_label(cam_dir: str | os.PathLike,
                      data: DataFolder | str | os.PathLike,
                      split: str | None,
                      out_dir: str | os.PathLike,
                      background: Mapping = DEFAULT_BACKGROUND,
                      postprocessors: Sequence[Mapping] = (),
                      num_workers: int | None = None,
                      missing_cam: str = 'error') -> dict[str, Any]:
    """Makes the pseudo labels of a split: ``<stem>.png`` for every image, and ``manifest.json``.

    An interrupted run resumes: an existing label is kept if the folder's manifest names the same CAMs and settings, and
    neither its CAM file nor its image is newer. The files do not depend on the number of workers.

    Args:
        cam_dir: Folder of CAM files with their manifest.
        data: The data set, or its root. Where it names no classes, they are those of the CAMs.
        split: Name of the split, or ``None`` for all images.
        out_dir: Folder for the labels.
        background: See :func:`mmwsss.postprocessing.pseudo_label`; ``dict(type='auto')``: a constant one for all,
            see :func:`mmwsss.postprocessing.background.choose_threshold`.
        postprocessors: Configs of POSTPROCESSORS, applied in this order.
        num_workers: Worker processes; 0: none; ``None``: one per CPU.
        missing_cam: ``'error'``, or ``'skip'`` to skip images without a CAM file.

    Returns:
        A summary: ``num_images``; ``made`` and ``kept``, the numbers of labels written in this call and kept from an
        earlier one; ``skipped``, a list of (path, reason); ``background_share`` and
        ``ignored_share``, the fractions of background pixels and of ignored ones over all labels; ``background``, the
        one that was used.

    Raises:
        UserError: If a setting is wrong, a CAM is missing although its image can be read, the saliency maps hold 0 and
            1 only, ``out_dir`` holds labels of other settings or saliency maps, or no label can be made.
    """
    data, cam_dir, out_dir = DataFolder.find(data), Path(cam_dir), Path(out_dir)
    check_missing('missing_cam', missing_cam)
    num_workers = check_num_workers(num_workers)
    check_background(background)
    built = build_postprocessors(postprocessors)
    stems = data.stems(split)
    manifest = read_manifest(cam_dir)
    names = _class_names(cam_dir, data, manifest)
    data.check_output_dir(out_dir)
    if out_dir.resolve() == cam_dir.resolve():
        raise UserError(f'{out_dir}: is the folder of the CAMs; choose another folder for the labels')
    if background['type'] == AUTO:
        background = _chosen(cam_dir, stems)
    with_saliency = needs_saliency(background)
    folder = SettingsFolder(out_dir, {
        'background': dict(background),
        **({'saliency': _origin(data.saliency_path)} if with_saliency else {}),
        'postprocessors': [dict(config) for config in postprocessors],
        'classes': names,
        'cam_manifest_sha256': sha256_of_json(dataclasses.asdict(manifest)),
    }, 'labels', suffix='.png')
    folder.check()
    saliency = data.saliency_paths() if with_saliency else None
    if saliency:
        check_saliency_values([saliency[stem] for stem in stems if stem in saliency])
    jobs = _Jobs(cam_dir, data.images_path, data.image_paths(), out_dir, background, built, len(names), saliency)
    skipped = jobs.check_missing(stems, skip=missing_cam == 'skip')
    folder.open()

    made = kept = pixels = background_pixels = ignored_pixels = 0
    todo = [stem for stem in stems if stem not in skipped]
    with progress_bar() as progress:
        outcomes = parallel_map(jobs, todo, min(num_workers, len(todo)))
        for outcome in progress.track(outcomes, len(todo), description='pseudo labels'):
            if outcome.skipped is not None:
                skipped[outcome.stem] = outcome.skipped
                continue
            made += not outcome.kept
            kept += outcome.kept
            pixels += outcome.pixels
            background_pixels += outcome.background_pixels
            ignored_pixels += outcome.ignored_pixels
    if len(skipped) == len(stems):
        path, reason = skipped[stems[0]]
        raise UserError(f'{path}: {reason} (and not one of the {len(stems)} labels could be made)')
    return {
        'num_images': len(stems),
        'made': made,
        'kept': kept,
        'skipped': [skipped[stem] for stem in stems if stem in skipped],
        'background_share': background_pixels / pixels,
        'ignored_share': ignored_pixels / pixels,
        'background': dict(background),
    }


def _origin(saliency_dir: Path) -> str:
    """Says where saliency maps are from: how they were made, or without a manifest where they lie."""
    manifest = saliency_dir / MANIFEST_NAME
    return sha256_of_file(manifest) if manifest.exists() else str(saliency_dir.resolve())


def _chosen(cam_dir: Path, stems: Sequence[str]) -> dict[str, Any]:
    """Chooses the constant background of a folder of CAMs; damaged files are left to who makes the labels."""
    def maxima() -> Iterator[np.ndarray]:
        for stem in stems:
            with contextlib.suppress(UserError):
                cam = read_cam(cam_path(cam_dir, stem)).cam
                if len(cam):
                    yield cam.max(axis=0)
    try:
        return dict(type='constant', threshold=choose_threshold(maxima()))
    except ValueError as error:
        raise UserError(f'{cam_dir}: has no CAM of any class, so no threshold can be chosen; give one') from error


@dataclasses.dataclass
class _Outcome:
    stem: str
    kept: bool = False
    pixels: int = 0
    background_pixels: int = 0
    ignored_pixels: int = 0
    skipped: tuple[str, str] | None = None


class _Jobs:
    """Makes and writes the label of an image; what a worker does."""

    def __init__(self, cam_dir: Path, img_dir: Path, images: Mapping[str, str], out_dir: Path, background: Mapping,
                 postprocessors: list[Postprocessor], num_classes: int, saliency: Mapping[str, str] | None) -> None:
        self.cam_dir = cam_dir
        self.img_dir = img_dir
        self.images = images
        self.out_dir = out_dir
        self.background = background
        self.postprocessors = postprocessors
        self.num_classes = num_classes
        self.saliency = saliency

    def __call__(self, stem: str) -> _Outcome:
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
                label = write_pseudo_label(label_path(self.out_dir, stem), cam_file, path, self.background,
                                           self.postprocessors, self.read_saliency(stem, path))
            except UserError as error:
                return _Outcome(stem, skipped=_skipped_file(path, error))
        return _Outcome(stem, kept, label.size, int((label == 0).sum()), int((label == IGNORE).sum()))

    def read_saliency(self, stem: str, img_path: str) -> np.ndarray | None:
        if self.saliency is None:
            return None
        if stem not in self.saliency:
            raise UserError(f'{img_path}: has no saliency map, of which its background is to be made; mmwsss saliency '
                            'makes it')
        return read_saliency(self.saliency[stem])

    def image_path(self, stem: str) -> str:
        return self.images.get(stem, str(self.img_dir / f'{stem}.jpg'))

    def existing(self, stem: str) -> np.ndarray | None:
        """Returns the label that a former run wrote.

        ``None`` if there is none that can be read, or if CAM file, image or saliency map are newer.
        """
        path = label_path(self.out_dir, stem)
        try:
            label = read_label(path)
        except UserError:
            return None
        sources = [cam_path(self.cam_dir, stem), Path(self.image_path(stem))]
        if self.saliency and stem in self.saliency:
            sources.append(Path(self.saliency[stem]))
        sources = [source for source in sources if source.exists()]
        written = path.stat().st_mtime_ns
        return label if all(source.stat().st_mtime_ns <= written for source in sources) else None

    def check_missing(self, stems: Sequence[str], skip: bool) -> dict[str, tuple[str, str]]:
        """Returns stem -> (file, reason) for the images to skip: those that rightly have no CAM.

        Args:
            stems: The images.
            skip: Whether to skip any image without a CAM. Else only an unreadable image, which
                ``mmwsss cam`` leaves out.

        Raises:
            UserError: If any other CAM is missing.
        """
        missing = {stem: cam_path(self.cam_dir, stem) for stem in stems}
        missing = {stem: path for stem, path in missing.items()
                   if not path.exists() and not label_path(self.out_dir, stem).exists()}
        if skip:
            return {stem: (str(path), 'no such CAM file') for stem, path in missing.items()}
        skipped = {}
        for stem, path in missing.items():
            if stem not in self.images:  # a hidden file counts as none, as in the data set
                skipped[stem] = (self.image_path(stem), 'no such image')
                continue
            try:
                read_image(self.image_path(stem))
            except UserError as error:
                skipped[stem] = _skipped_file(self.image_path(stem), error)
            else:
                raise UserError(f'{path}: no such CAM file ({len(missing)} of {len(stems)} are missing); run '
                                'mmwsss cam with the same split and --out-dir: it makes what is missing. Images '
                                "that are to have none are left out with missing_cam='skip' (--missing-cam skip)")
        return skipped


def _skipped_file(path: str | os.PathLike, error: UserError) -> tuple[str, str]:
    return str(path), str(error).removeprefix(f'{path}: ')


def _class_names(cam_dir: Path, data: DataFolder, manifest: CAMManifest) -> list[str]:
    # VOC itself has no classes.txt; the manifest knows the names that the CAMs were made with.
    names = list(data.classes if data.has_classes else manifest.classes)
    if len(names) > MAX_CLASSES:
        raise UserError(f'{data.root}: {len(names)} classes; a label file can hold {MAX_CLASSES}')
    if names != list(manifest.classes):
        raise UserError(f'{cam_dir / "manifest.json"}: the CAMs are of the classes {list(manifest.classes)}, but the '
                        f'data has {names}; give the right --data-root or --classes, or make the CAMs again')
    return names
