"""A small study, and what takes the place of its trainings and tests."""
import gc
import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from mmwsss.apis import runner
from mmwsss.apis.runner import RunResult
from mmwsss.experiments.study.study import Study

STUDY = '''
configs = dict(cam='{cam}')
num_images = 5
seeds = (0, 1)
cfg_options = {options}
tests = dict(scale1={{'model.inference_hooks.0.scales': (1.0,)}}, multi={{}})
rows = [
    dict(name='baseline', config='cam'),
    dict(name='+ER', config='cam', cfg_options={{'train_dataloader.batch_size': 3}}, seeds=(1,), tests=('scale1',)),
    dict(name='no flip', config='cam', checkpoint_of='baseline', tests=('scale1',),
         test_options={{'model.inference_hooks': [dict(type='MultiScaleFlip', scales=(1.0,), flip=False)]}}),
]
'''


@pytest.fixture(scope='module')
def study_file(tmp_path_factory, repo_root, tiny_cam_options):
    path = tmp_path_factory.mktemp('study') / 'tiny.py'
    # Serializing a list of twelve images saves nothing, and MMEngine collects all garbage before it does.
    options = dict(tiny_cam_options, **{f'{name}_dataloader.dataset.serialize_data': False
                                        for name in ('train', 'test')})
    path.write_text(STUDY.format(cam=repo_root / 'configs/cam/cam_efflite0_small.py', options=options))
    return path


@pytest.fixture
def fake(monkeypatch):
    """Takes the place of training and testing; notes what is done and lets ``fail`` raise."""
    done = SimpleNamespace(trained=[], tested=[], skipped=[], fail=None, number=itertools.count())
    monkeypatch.setattr(gc, 'collect', lambda: 0)  # takes half a second in the suite's process

    def note_times(name):
        hub = MessageHub.get_instance(f'fake_{next(done.number)}_{id(done)}')
        for seconds in (0.9, 0.1, 0.2):
            hub.update_scalar(f'{name}/time', seconds)

    def train(cfg, work_dir, resume, launcher):
        if done.fail and cfg.train_dataloader.batch_size == 3:
            raise done.fail
        assert resume
        done.trained.append((work_dir.parts[-3], cfg.randomness.seed))
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / 'epoch_2.pth').write_text(f'weights {next(done.number)}')
        torch.set_num_threads(cfg.get('num_threads') or torch.get_num_threads())
        note_times('train')
        return RunResult(work_dir / 'epoch_2.pth', skipped=done.skipped)

    def test(cfg, checkpoint, work_dir, launcher):
        done.tested.append((work_dir.parts[-3], cfg.randomness.seed, work_dir.name.removesuffix('_logs'),
                            checkpoint.parts[-4:-2]))
        note_times('test')
        report = dict(mIoU=0.4 + 0.1 * cfg.randomness.seed ** 2, threshold=0.2, m_FN=None, m_FP=0.5, precision=0.5,
                      recall=0.5, per_class={}, curve=[], num_images=5, class_filter='label')
        if cfg.test_evaluator.type == 'IoUMetric':
            report = dict(report, mIoU=0.3 + 0.01 * cfg.randomness.seed, num_images=2, threshold=None,
                          oracle_threshold=False, per_class=dict(background=0.6, cat=0.02 * cfg.randomness.seed))
            del report['class_filter']
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / 'report.json').write_text(json.dumps(report))
        assert cfg.test_evaluator.out_file == str(work_dir / 'report.json')
        return RunResult(checkpoint)

    monkeypatch.setattr(runner, 'train', train)
    monkeypatch.setattr(runner, 'test', test)

    def pop():
        found = (list(done.trained), list(done.tested))
        done.trained.clear()
        done.tested.clear()
        return found
    done.pop = pop
    return done


@pytest.fixture
def make(study_file, generated_root, tmp_path):
    def make(data_root=generated_root, **options):
        return Study(study_file, data_root, tmp_path / 'work', cfg_options=options)
    return make
