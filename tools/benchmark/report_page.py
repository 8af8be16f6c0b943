"""What the page of a pipeline on many images costs: seconds, peak memory, size of ``report.html``.

The work folder is one that a pipeline on so many images would leave: CAM files, label files and predictions, and the
figures of their stages. They are not computed by networks: a CAM is the image's mask, blurred and noisy. Images, masks
and files are links to those of a data set with masks, repeated until there are enough. ``mmwsss report`` then runs in
a process of its own.

    python tools/benchmark/report_page.py DATA WORK_DIR --num-images 10000
"""
import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from mmwsss.apis.evaluation import evaluate_cam_dir, evaluate_label_dir
from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets import DataFolder
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.experiments.report.page import REPORT_PAGE
from mmwsss.experiments.report.sources import describe_data
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.label_file import IGNORE, label_path, read_label, write_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json

THRESHOLD = 0.4
PLAN = dict(cam='make_cam', eval_cam='eval_cam', label='pseudo_label', eval_label='eval_label', eval_segmentor='test')
SPLITS = dict(train=.8, val=.2)


def blurred_cam(mask: np.ndarray, rng: np.random.Generator) -> CAMFile:
    """Makes a CAM file of a label map [H, W]: every class in it blurred and noisy, at a quarter of the sides."""
    size, grid = mask.shape, tuple(-(-side // 4) for side in mask.shape)
    classes = np.array([k - 1 for k in np.unique(mask) if 0 < k < IGNORE], np.int64)
    maps = np.zeros((len(classes), *grid), np.float32)
    for cam, k in zip(maps, classes):
        small = cv2.resize((mask == k + 1).astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
        noise = cv2.GaussianBlur(rng.standard_normal(grid).astype(np.float32), (0, 0), 4)
        cam[:] = np.clip(cv2.GaussianBlur(small, (0, 0), 3) + 2 * noise, 0, None)
        cam /= max(cam.max(), 1e-6)
    return CAMFile(classes, maps.astype(np.float16), size)


def write_maps(data: DataFolder, folder: Path, seed: int = 0) -> None:
    """Writes ``cam`` and ``labels`` of every image of a data set that has a mask."""
    rng = np.random.default_rng(seed)
    open_cam_dir(folder / 'cam', CAMManifest(checkpoint_sha256=None, config_hash=None, classes=data.classes))
    for stem, path in data.mask_paths().items():
        cam = blurred_cam(read_label(path), rng)
        write_cam(cam_path(folder / 'cam', stem), cam)
        full = np.asarray(resize_cam(cam.cam, cam.size), np.float32)
        write_label(label_path(folder / 'labels', stem), label_from_cam(full, cam.classes, THRESHOLD))


def repeat(data: DataFolder, maps: Path, root: Path, work: WorkDir, num_images: int) -> DataFolder:
    """Writes the large data set in VOC layout and the files of the stages, all of them links."""
    images, masks = data.image_paths(), data.mask_paths()
    stems, numbers = sorted(masks), {}
    for split, share in SPLITS.items():
        numbers[split] = [f'{stems[i % len(stems)]}_{split}{i // len(stems)}' for i in range(int(share * num_images))]
    for folder in (root / 'JPEGImages', root / 'SegmentationClass', root / 'ImageSets', work.path / 'cam/cam',
                   work.path / 'label/labels', work.path / 'eval_segmentor/predictions'):
        folder.mkdir(parents=True)
    (root / 'classes.txt').write_text(''.join(f'{name}\n' for name in data.classes))
    for split, names in numbers.items():
        (root / f'ImageSets/{split}.txt').write_text(''.join(f'{name}\n' for name in names))
        for name in names:
            stem = name.rpartition('_')[0]
            image = Path(images[stem]).resolve()
            (root / f'JPEGImages/{name}{image.suffix}').symlink_to(image)
            (root / f'SegmentationClass/{name}.png').symlink_to(Path(masks[stem]).resolve())
            label = label_path(maps / 'labels', stem)
            if split == 'train':
                os.link(cam_path(maps / 'cam', stem), cam_path(work.path / 'cam/cam', name))
                os.link(label, label_path(work.path / 'label/labels', name))
            else:
                os.link(label, label_path(work.path / 'eval_segmentor/predictions', name))
    return DataFolder.find(root)


def make_work_dir(data_root: str, folder: Path, num_images: int) -> Path:
    """Makes the large data set and the work folder of a pipeline on it; figures are those of the small one."""
    data, work, maps = DataFolder.find(data_root), WorkDir(folder / 'run'), folder / 'maps'
    if not data.mask_paths():
        raise UserError(f'{data_root}: has no masks, of which the CAMs are made; name a data set with masks')
    write_maps(data, maps)
    stages = {name: work.open_stage(name, 'benchmark', kind) for name, kind in PLAN.items()}
    large = repeat(data, maps, folder / 'data', work, num_images)
    work.begin([dict(name=name, type=kind, role=None) for name, kind in PLAN.items()], describe_data(large))
    write_json(stages['label'] / 'labels/manifest.json', dict(background=dict(type='constant', threshold=THRESHOLD)))
    for name, output in (('cam', 'cam'), ('label', 'labels'), ('eval_segmentor', 'predictions')):
        work.complete_stage(name, output)
    for name, evaluate, made in (('eval_cam', evaluate_cam_dir, 'cam'), ('eval_label', evaluate_label_dir, 'labels')):
        report = evaluate(maps / made, data, 'train')
        report.pop('skipped', None)
        write_json(stages[name] / 'metrics.json', report)
        work.complete_stage(name, 'metrics.json', [dict(metric='mIoU', value=100 * report['mIoU'], unit='%')])
    return work.path


def measure(work_dir: Path) -> dict[str, float]:
    """Runs ``mmwsss report``; returns seconds, processor seconds, peak memory and size of the page, both in MB."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, '-m', 'mmwsss', 'report', str(work_dir)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that nothing waits for it again
    if process.returncode:
        raise UserError(f'mmwsss report {work_dir}: ended with exit code {process.returncode}, see above')
    return dict(seconds=time.monotonic() - start, cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_mb=usage.ru_maxrss / 1024, page_mb=(work_dir / REPORT_PAGE).stat().st_size / 1e6)


def main(argv: list[str] | None = None) -> int:
    """Makes the folder, unless it is there, and measures the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', metavar='DATA', help='a data set with masks, whose images are repeated')
    parser.add_argument('work_dir', metavar='WORK_DIR', type=Path, help='a new folder, or that of an earlier run')
    parser.add_argument('--num-images', type=int, default=10_000, metavar='N')
    args = parser.parse_args(argv)
    if not (args.work_dir / 'run').is_dir():
        make_work_dir(args.data_root, args.work_dir, args.num_images)
    figures = measure(args.work_dir / 'run')
    sample = re.search(r'[\d,]+ of [\d,]+ images[^.]*', (args.work_dir / 'run' / REPORT_PAGE).read_text())[0]
    print(f'{figures["seconds"]:.1f} s ({figures["cpu_seconds"]:.1f} s of processor time), '
          f'{figures["peak_mb"]:.0f} MB of memory, page of {figures["page_mb"]:.1f} MB: {sample}')
    return 0


if __name__ == '__main__':
    run_cli(main)
