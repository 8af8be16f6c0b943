"""What lies in the folder that the commands of a page are called in: the files that the page names, but small."""
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from tiny_onnx import write_saliency_onnx

from mmwsss.datasets.voc_devkit import VOC_CLASSES
from mmwsss.structures.label_file import read_label

# Where a page expects what tests/docs has: the work folder of a pipeline, its CAMs, its labels, a checkpoint, data.
PIPELINE, CAMS, LABELS, CAM_CHECKPOINT = 'run', 'run/cam/cam', 'run/label/labels', 'run/classifier/epoch_1.pth'
DATA, CURVE = 'data', 'cam.json'
PLACES: dict[str, dict[str, str]] = {
    'README.md': {'work_dirs/run': PIPELINE, 'work_dirs/base_seed0': PIPELINE, 'work_dirs/base_seed1': PIPELINE,
                  'work_dirs/seam_seed0': PIPELINE, 'work_dirs/seam_seed1': PIPELINE},
    'docs/training.md': {'work_dirs/run': PIPELINE, 'work_dirs/seam': 'run/classifier'},
    'docs/report.md': {'work_dirs/seam': PIPELINE, 'work_dirs/best': PIPELINE, 'before': CAMS, 'after': CAMS,
                       'epoch_4.pth': CAM_CHECKPOINT, 'cam.json': CURVE, 'seam.json': CURVE},
    'docs/voc.md': {'CAMS': CAMS, 'BEFORE': CAMS, 'AFTER': CAMS, 'baseline.json': CURVE},
    'configs/affinitynet/README.md': {'work_dirs/cam/train': CAMS},
    'configs/gradient_cam/README.md': {'cam.pth': CAM_CHECKPOINT},
    'configs/segmentation/README.md': {'work_dirs/labels': LABELS},
    'configs/ssa/README.md': {'work_dirs/cam/epoch_4.pth': CAM_CHECKPOINT},
    'configs/studies/README.md': {'CAMS': CAMS},
}


def fill_folder(folder: Path, page: str, made: Path) -> None:
    """Fills an empty folder with what the commands of a page need.

    Args:
        folder: The folder.
        page: The page, relative to the checkout.
        made: What the session has made: ``run``, a pipeline's work folder, ``data``, ``photographs``, ``cam.json``.
    """
    (folder / 'photographs').mkdir()
    for path in sorted((made / 'photographs').iterdir()):
        shutil.copy(path, folder / 'photographs')
    shutil.copy(path, folder / 'photograph.jpg')
    write_saliency_onnx(folder / 'u2netp.onnx', [[1., 0., 0.]], size=16)
    for name in ('data', 'DATA'):
        shutil.copytree(made / 'data', folder / name)
    for target, source in PLACES.get(page, {}).items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        if (made / source).is_dir():
            shutil.copytree(made / source, folder / target, copy_function=os.link, dirs_exist_ok=True)
        else:
            os.link(made / source, folder / target)
    if page in PREPARE:
        PREPARE[page](folder)


def _large_photograph(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (168, 224, 3), np.uint8)).save(folder / 'photo.jpg')


def _no_saliency(folder: Path) -> None:
    shutil.rmtree(folder / 'DATA/Saliency')


def _annotations(folder: Path) -> None:
    """The same two labelled images for every labelling program, and a set of COCO's."""
    shutil.rmtree(folder / 'data')
    shutil.rmtree(folder / 'photographs')
    square = [[2, 2], [20, 2], [20, 20], [2, 20]]
    (folder / 'labels').mkdir()
    cvat = []
    for number, name in enumerate(('cat', 'dog')):
        image = folder / f'photographs/{name}/{name}.jpg'
        image.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)).save(image)
        image.with_suffix('.json').write_text(json.dumps(dict(
            imagePath=image.name, imageHeight=48, imageWidth=64, flags={},
            shapes=[dict(label=name, shape_type='polygon', points=square)])))
        (folder / f'labels/{name}.xml').write_text(
            f'<annotation><filename>{name}.jpg</filename><object><name>{name}</name></object></annotation>')
        points = ';'.join(f'{x},{y}' for x, y in square)
        cvat.append(f'<image id="{number}" name="{name}/{name}.jpg" width="64" height="48">'
                    f'<polygon label="{name}" points="{points}"/></image>')
    labels = ''.join(f'<label><name>{name}</name></label>' for name in ('cat', 'dog'))
    (folder / 'annotations.xml').write_text(
        f'<annotations><meta><task><labels>{labels}</labels></task></meta>{"".join(cvat)}</annotations>')
    _coco(folder / 'coco', folder / 'coco/annotations', ('train2017', 'val2017'))


def _coco(images: Path, annotations: Path, splits: tuple[str, str]) -> None:
    annotations.mkdir(parents=True)
    for split in splits:
        (images / split).mkdir(parents=True)
        name = f'{split}_0.jpg'
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(images / split / name)
        segment = dict(id=0, image_id=0, category_id=0, iscrowd=0, segmentation=[[2, 2, 20, 2, 20, 20, 2, 20]],
                       area=324, bbox=[2, 2, 18, 18])
        (annotations / f'instances_{split}.json').write_text(json.dumps(dict(
            images=[dict(id=0, file_name=name, height=48, width=64)], annotations=[segment],
            categories=[dict(id=number, name=name) for number, name in enumerate(('cat', 'dog'))])))


def _voc(folder: Path) -> None:
    """The generated scenes as VOC and SBD are distributed, with classes of VOC, and CAMs of them; COCO 2014."""
    voc, sbd = folder / 'VOCdevkit/VOC2012', folder / 'benchmark_RELEASE/dataset'
    shutil.copytree(folder / 'data', voc)
    shutil.rmtree(folder / 'data')
    (voc / 'Annotations').mkdir()
    (voc / 'ImageSets/Segmentation').mkdir()
    (sbd / 'cls').mkdir(parents=True)
    known, own = json.loads((voc / 'labels.json').read_text()), (voc / 'classes.txt').read_text().split()
    for stem, names in known.items():
        objects = ''.join(f'<object><name>{VOC_CLASSES[own.index(name)]}</name><difficult>0</difficult></object>'
                          for name in names)
        (voc / f'Annotations/{stem}.xml').write_text(f'<annotation>{objects}</annotation>')
    for split in ('train', 'val'):
        shutil.move(voc / f'ImageSets/{split}.txt', voc / 'ImageSets/Segmentation')
        stems = (voc / f'ImageSets/Segmentation/{split}.txt').read_text()
        (sbd / f'{split}.txt').write_text(stems)
        for stem in stems.split():
            found = np.zeros((1, 1), [('Segmentation', object)])
            found[0, 0] = (read_label(voc / f'SegmentationClass/{stem}.png'), )
            savemat(sbd / f'cls/{stem}.mat', {'GTcls': found})
    for name in ('labels.json', 'classes.txt'):
        (voc / name).unlink()
    for name in ('CAMS', 'BEFORE', 'AFTER'):
        path = folder / name / 'manifest.json'
        content = json.loads(path.read_text())
        path.unlink()  # a link to the session's own
        path.write_text(json.dumps(content | dict(classes=VOC_CLASSES)))
    _coco(folder, folder / 'annotations', ('train2014', 'val2014'))


PREPARE: dict[str, Callable[[Path], None]] = {
    'docs/data.md': _annotations, 'docs/voc.md': _voc, 'configs/seam/README.md': _large_photograph,
    'configs/segmentation/README.md': _no_saliency}
