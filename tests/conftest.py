"""Fixtures of the whole suite."""
# ruff: noqa: E402
import gc

gc.disable()  # until everything is imported and collected: three seconds less for every process

import os
import shutil
import subprocess
import sys
from pathlib import Path

import file_order
import pytest
import torch
from mmengine.logging import MMLogger
from yapf.yapflib import yapf_api

from mmwsss import setup

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    """Without it xdist begins with the files that have most tests, whatever they take."""
    if hasattr(config.option, 'loadscopereorder'):
        config.option.loadscopereorder = False


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    """Garbage is collected while tests run."""
    yield
    gc.enable()


def pytest_collection_modifyitems(items):
    """The longest files first, see file_order.py; otherwise as they are."""
    tests = Path(__file__).parent
    items.sort(key=lambda item: file_order.rank(os.path.relpath(item.path, tests).replace(os.sep, '/')))


@pytest.fixture(autouse=True)
def _loggers_end_with_their_test():
    """MMEngine keeps loggers for the life of the process, and with them the stream of a ``capsys`` that is closed."""
    MMLogger.get_current_instance()  # this one finds the stream of the session: capsys comes later
    before = set(MMLogger._instance_dict)
    yield
    for name in set(MMLogger._instance_dict) - before:
        del MMLogger._instance_dict[name]


@pytest.fixture(scope='session', autouse=True)
def quiet_machine(tmp_path_factory):
    """One thread (tensors here are tiny), no cache of an earlier run, and what whatever runs something calls first."""
    setup()
    torch.set_num_threads(1)
    os.environ['MMWSSS_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    lay_out, known = yapf_api.FormatCode, {}

    def lay_out_once(text, **options):
        """MMEngine writes a config several times a run, and the same in many tests; each takes tenths of a second."""
        key = text, repr(options)
        if key not in known:
            known[key] = lay_out(text, **options)
        return known[key]

    yapf_api.FormatCode = lay_out_once


_imported = 0


@pytest.fixture(autouse=True)
def _garbage_is_not_sought_in_what_was_imported(quiet_machine):
    """MMEngine and mmwsss collect garbage for every data set and stage: among a million objects of torch and others."""
    global _imported
    if len(sys.modules) > _imported + 100:
        gc.collect()
        gc.freeze()
        _imported = len(sys.modules)


@pytest.fixture(scope='session')
def leftover():
    """Makes the temporary file that a process has while it writes a file, and leaves when it is killed."""
    from mmwsss.utils.fileio import pid_scope
    dead = subprocess.Popen(['true'])
    dead.wait()

    def make(path, alive=False):
        pid = os.getppid() if alive else dead.pid
        temporary = path.with_name(f'.{path.stem}.0-{pid}-{pid_scope()}.tmp{path.suffix}')
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(b'half')
        return temporary

    return make


@pytest.fixture(scope='session')
def generated_root(tmp_path_factory):
    """A generated data set: 12 train and 4 val images of three classes. Not to be changed."""
    from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
    root = tmp_path_factory.mktemp('generated') / 'data'
    generate_voc_layout(root, num_train=12, num_val=4, num_classes=3, size=64, seed=3)
    return root


@pytest.fixture
def generated_copy(generated_root, tmp_path):
    """A copy of the generated data set that a test may damage."""
    return Path(shutil.copytree(generated_root, tmp_path / 'data'))


@pytest.fixture
def csv_folder(generated_root, tmp_path):
    """The generated data as a folder of images, with sub folders, and labels.csv, in which one image has no class."""
    import csv
    import json
    root = tmp_path / 'photos'
    labels = json.loads((generated_root / 'labels.json').read_text())
    for stem in labels:
        folder = root / 'images' / stem.split('_')[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(generated_root / f'JPEGImages/{stem}.jpg', folder)
    shutil.copytree(generated_root / 'SegmentationClass', root / 'masks')
    shutil.copytree(generated_root / 'ImageSets', root / 'ImageSets')
    shutil.copy(generated_root / 'classes.txt', root)
    with open(root / 'labels.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'classes'])
        writer.writerows([f'{stem}.jpg', ';'.join(names)] for stem, names in labels.items() if stem != 'train_00004')
    return root


@pytest.fixture(scope='session')
def repo_root():
    """Folder of the checkout."""
    return ROOT


# Small enough for a test to train in a second: a single stage of EfficientNet-Lite0, without weights.
TINY_CAM = {
    'model.backbone.init_cfg': None,
    'model.backbone.norm_eval': False,
    'model.backbone.norm_frozen': False,
    'model.backbone.frozen_stages': 0,
    'model.data_preprocessor.size': (48, 48),
    'train_dataloader.dataset.pipeline.1.long_side': (40, 64),
    'train_dataloader.dataset.pipeline.2.crop_size': (48, 48),
    'train_dataloader.batch_size': 4,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'train_cfg.max_epochs': 2,
    'model.inference_hooks.0.scales': (1.0, 2.0),
}


@pytest.fixture(scope='session')
def tiny_cam_options():
    """Options for configs/cam/cam_efflite0_small.py."""
    return dict(TINY_CAM)


@pytest.fixture
def tiny_cam_cfg(repo_root, generated_root):
    """A CAM config on the generated data."""
    from mmwsss.config.config import load_config
    return load_config(repo_root / 'configs/cam/cam_efflite0_small.py', generated_root, dict(TINY_CAM))


@pytest.fixture(scope='session', autouse=True)
def stop_hook():
    """Registers a hook that stops a training in the middle of the epoch after ``epoch``, as a kill would."""
    from mmengine.hooks import Hook

    from mmwsss.registry import HOOKS

    @HOOKS.register_module(name='StopAfterEpochHook', force=True)
    class StopAfterEpochHook(Hook):
        def __init__(self, epoch):
            self.epoch = epoch

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.epoch == self.epoch and batch_idx == 1:
                raise InterruptedError('stopped by the test')


@pytest.fixture(scope='session')
def tiny_pipeline(tmp_path_factory):
    """A pipeline config that trains for seconds on the generated data."""
    folder = tmp_path_factory.mktemp('pipeline')
    segmentor = {key: value for key, value in TINY_CAM.items() if 'hooks' not in key and 'dataset' not in key}
    segmentor.update({'train_dataloader.dataset.pipeline.2.long_side': (40, 64),
                      'train_dataloader.dataset.pipeline.3.crop_size': (48, 48), 'train_cfg.max_epochs': 1,
                      'model.decode_head.channels': 8})
    for name, base, options in (('cam', 'cam/cam_efflite0_small.py', {**TINY_CAM, 'train_cfg.max_epochs': 1}),
                                ('seg', 'segmentation/deeplab_efflite0_small.py', segmentor)):
        from mmengine.config import Config
        cfg = Config.fromfile(ROOT / 'configs' / base)
        cfg.merge_from_dict(options)
        cfg.dump(folder / f'{name}.py')
    (folder / 'pipeline.py').write_text('''
configs = dict(cam='cam.py', segmentor='seg.py')
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')),
    label=dict(type='pseudo_label', split='train', num_workers=0, inputs=dict(cams='cam')),
    eval_label=dict(type='eval_label', split='train', inputs=dict(labels='label')),
    segmentor=dict(type='train', config='segmentor', split='train', inputs=dict(labels='label')),
    eval_segmentor=dict(type='test', config='segmentor', split='val', inputs=dict(checkpoint='segmentor')),
    picture_train=dict(type='picture', split='train', inputs=dict(cams='cam', pseudo_label='label')),
    picture_val=dict(type='picture', split='val', inputs=dict(predictions='eval_segmentor')),
)
''')
    return folder / 'pipeline.py'


@pytest.fixture(scope='session')
def stage_context():
    """Makes what a pipeline gives its stages, without a pipeline."""
    from mmwsss.datasets.data_folder import DataFolder
    from mmwsss.experiments.pipeline import StageContext

    def make(data_root, folder=None, load_config=None, **options):
        own = DataFolder.find(data_root)

        def fingerprint(split, what, data=None):
            return (data or own).fingerprint((data or own).stems(split), what)

        return StageContext(folder=folder, data=own, load_config=load_config, fingerprint=fingerprint, **options)

    return make


@pytest.fixture(scope='session')
def make_work_dir():
    """Writes the work folder of a pipeline without running it, as far as the tables need it."""
    import json

    from mmwsss.experiments.work_dir import WorkDir

    def make(path, stages, report=True, plan=None):
        """``stages`` is {name: None if not complete, else keys of complete.json, and ``metrics_json``}.

        ``plan`` is {name: (type, role)}; without it the folder is one of an earlier version.
        """
        work, rows = WorkDir(path), []
        if plan is not None:
            work.begin([dict(name=name, type=kind, role=role) for name, (kind, role) in plan.items()])
        for number, (name, content) in enumerate(stages.items()):
            folder = work.open_stage(name, '0', *(plan or {}).get(name, ()))
            if content is not None:
                content = dict(dict(seconds=1.5, output='metrics.json'), **content)
                if 'metrics_json' in content:
                    (folder / 'metrics.json').write_text(json.dumps(content.pop('metrics_json')))
                state = work.complete_stage(name, **content)
                rows += [dict(stage=name, seconds=state.seconds, **row)
                         for row in state.metrics or [dict(metric='', value=None)]]
            for file in folder.iterdir():  # the order of the stages, where no report tells it
                os.utime(file, (number, number))
        if report:
            work.write_report(rows)
        return path

    return make
