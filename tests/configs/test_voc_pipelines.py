"""Every pipeline for VOC and COCO is run once, with one iteration:

pytest -m slow tests/configs/test_voc_pipelines.py
"""
from pathlib import Path

import pytest

from mmwsss.experiments.pipeline import dry_run

PIPELINES = sorted(path for kind in ('voc', 'coco')
                   for path in (Path(__file__).parents[2] / 'configs/pipelines').glob(f'*_{kind}.py'))


@pytest.mark.slow
@pytest.mark.parametrize('path', PIPELINES, ids=lambda path: path.stem)
def test_every_stage_runs(path, tmp_path):
    rows = dry_run(path, work_dir=tmp_path, side=96)
    assert {row.name: row.error or row.waits_for for row in rows if not row.works} == {}


def test_pipelines_of_every_method_are_tried():
    methods = {path.stem.split('_r')[0] for path in PIPELINES}
    assert methods >= {'affinitynet', 'infercam', 'irnet', 'rcm_mam', 'seam', 'slams', 'ssa'}
