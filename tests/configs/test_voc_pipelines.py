"""Every pipeline for VOC and COCO is run once, with one iteration:

pytest -m slow tests/configs/test_voc_pipelines.py
"""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwsss.config.config import fill_num_classes
from mmwsss.datasets.voc_devkit import VOC_CLASSES
from mmwsss.experiments.pipeline import dry_run
from mmwsss.experiments.pipeline.dry_config import RANDOM
from mmwsss.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
PIPELINES = sorted(path for kind in ('voc', 'coco') for path in (CONFIGS / 'pipelines').glob(f'*_{kind}.py'))


@pytest.mark.slow
@pytest.mark.parametrize('path', PIPELINES, ids=lambda path: path.stem)
def test_every_stage_runs(path, tmp_path):
    rows = dry_run(path, work_dir=tmp_path, side=96)
    assert {row.name: row.error or row.waits_for for row in rows if not row.works} == {}


@pytest.mark.slow
def test_infercam_with_a_classifier_from_elsewhere(tmp_path):
    """The command of docs/voc.md and configs/infercam/README.md, with a file as the converter of PSA's writes it."""
    cfg = Config.fromfile(CONFIGS / 'cam/cam_r38_voc.py')
    fill_num_classes(cfg.model, len(VOC_CLASSES))
    cfg.model.backbone.init_cfg = RANDOM
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    checkpoint = tmp_path / 'psa_cls.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=VOC_CLASSES))), checkpoint)
    del model  # as much memory as the pipeline's own
    rows = dry_run(CONFIGS / 'pipelines/infercam_r38_voc.py', work_dir=tmp_path / 'work', side=96, cfg_options={
        'stages.classifier': None, 'stages.cam.inputs.checkpoint': None, 'stages.cam.checkpoint': str(checkpoint),
        'cfg_options.cam.model.inference_hooks.1.scales': (1.0,)})  # the test above has all of them, which take minutes
    assert {row.name: row.error or row.waits_for for row in rows if not row.works} == {}
    assert rows[0].name == 'cam' and 'classifier' not in [row.name for row in rows]


def test_pipelines_of_every_method_are_tried():
    methods = {path.stem.split('_r')[0] for path in PIPELINES}
    assert methods >= {'affinitynet', 'infercam', 'irnet', 'rcm_mam', 'seam', 'slams', 'ssa'}
