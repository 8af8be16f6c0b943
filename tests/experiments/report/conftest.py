import json

import numpy as np
import pytest

from mmwsss.apis.evaluation import evaluate_cam_dir, evaluate_label_dir
from mmwsss.datasets import DataFolder
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.experiments.report.sources import describe_data
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.structures.cam_file import CAMFile, CAMManifest, cam_path, open_cam_dir, write_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.fileio import write_json

PLAN = dict(classifier='train', cam='make_cam', eval_cam='eval_cam', label='pseudo_label', eval_label='eval_label',
            eval_segmentor='test')


@pytest.fixture
def make_run(tmp_path):
    """Writes a work folder as a pipeline would, with random CAMs: make_run(name, data root, masks?) -> its path."""
    def make(root, name='run', seed=0, threshold=.4):
        rng, data, work = np.random.default_rng(seed), DataFolder.find(root), WorkDir(tmp_path / name)
        has_masks = data.has_masks('train')
        work.begin([dict(name=stage, type=kind, role=None) for stage, kind in PLAN.items()], describe_data(data))
        folder = {stage: work.open_stage(stage, 'key', kind) for stage, kind in PLAN.items()}
        scalars = folder['classifier'] / 'run/vis_data/scalars.json'
        scalars.parent.mkdir(parents=True)
        scalars.write_text(''.join(json.dumps(dict(loss=1 / (i + 1), step=i)) + '\n' for i in range(5)) + '{"loss": 3')
        work.complete_stage('classifier', folder['classifier'])
        open_cam_dir(folder['cam'] / 'cam', CAMManifest(None, None, data.classes))
        for stem in data.stems('train'):
            size = read_image(data.image_paths()[stem]).shape[:2]
            grid = [-(-side // 4) for side in size]
            file = CAMFile(np.array([0, 2]), rng.random((2, *grid)).astype(np.float16), size)
            write_cam(cam_path(folder['cam'] / 'cam', stem), file)
            label = label_from_cam(np.asarray(resize_cam(file.cam, size), np.float32), file.classes, threshold)
            write_label(label_path(folder['label'] / 'labels', stem), label)
        write_json(folder['label'] / 'labels/manifest.json', dict(background=dict(type='constant',
                                                                                  threshold=threshold)))
        for stem in data.stems('val'):
            size = read_image(data.image_paths()[stem]).shape[:2]
            write_label(label_path(folder['eval_segmentor'] / 'predictions', stem), rng.integers(0, 3, size, np.uint8))
        work.complete_stage('cam', 'cam')
        work.complete_stage('label', 'labels')
        for stage, evaluate, made in (('eval_cam', evaluate_cam_dir, folder['cam'] / 'cam'),
                                      ('eval_label', evaluate_label_dir, folder['label'] / 'labels')):
            report = evaluate(made, data, 'train', num_workers=0) if has_masks else dict(mIoU=None)
            report.pop('skipped', None)
            write_json(folder[stage] / 'metrics.json', report)
            row = dict(metric='mIoU', value=100 * report['mIoU'] if has_masks else None, unit='%', note='<train>')
            work.complete_stage(stage, 'metrics.json', [row])
        work.complete_stage('eval_segmentor', 'predictions')
        return work.path
    return make
