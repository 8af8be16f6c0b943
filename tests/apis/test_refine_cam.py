"""CAMs that a trained AffinityNet refines: in a pipeline, by the function, by the tool."""
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from mmengine.config import Config
from warm_python import warm_python

from mmwsss.apis.cam_files import refine_cam
from mmwsss.apis.pseudo_label import make_pseudo_label
from mmwsss.config.config import load_config
from mmwsss.engine.loops import CAMTestLoop
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.structures.cam_file import read_cam
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import EXIT_DONE, UserError

PIPELINE = '''
configs = dict(cam='cam.py', affinity='affinity.py')
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    pixels=dict(type='pseudo_label', split='train', num_workers=0, inputs=dict(cams='cam'),
         background=dict(type='confident', foreground=dict(type='constant', threshold=0.5),
                         background=dict(type='constant', threshold=0.2))),
    affinity=dict(type='train', config='affinity', split='train', inputs=dict(labels='pixels')),
    walk=dict(type='refine_cam', config='affinity', split='train',
         inputs=dict(checkpoint='affinity', cams='cam')),
    eval_walk=dict(type='eval_cam', split='train', inputs=dict(cams='walk')),
    eval_walk_label=dict(type='eval_label', split='train', inputs=dict(labels='walk/labels')),
)
'''


@pytest.fixture(scope='module')
def config(tmp_path_factory, repo_root, tiny_cam_options):
    """A pipeline config that ends with a walk."""
    folder = tmp_path_factory.mktemp('config')
    affinity = {key: value for key, value in tiny_cam_options.items() if 'hooks' not in key and 'pipeline' not in key}
    affinity.update({'train_dataloader.dataset.pipeline.2.crop_size': (48, 48), 'train_cfg.max_epochs': 1,
                     'model.random_walk.steps': 8})
    for name, base, options in (('cam', 'cam/cam_efflite0_small.py', {**tiny_cam_options, 'train_cfg.max_epochs': 1}),
                                ('affinity', 'affinitynet/affinitynet_efflite0_small.py', affinity)):
        cfg = Config.fromfile(repo_root / 'configs' / base)
        cfg.merge_from_dict(options)
        cfg.param_scheduler = []  # an epoch of few steps
        cfg.dump(folder / f'{name}.py')
    (folder / 'pipeline.py').write_text(PIPELINE)
    return folder / 'pipeline.py'


@pytest.fixture(scope='module')
def finished(tmp_path_factory, config, generated_root):
    work = tmp_path_factory.mktemp('finished')
    assert Pipeline(config, generated_root, work).run() == EXIT_DONE
    return work


@pytest.fixture
def cfg(config, generated_root):
    return load_config(config.with_name('affinity.py'), generated_root)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in ('.npz', '.png')}


def test_pipeline_with_a_walk(finished):
    stems = [path.stem for path in (finished / 'cam/cam').glob('*.npz')]
    assert len(stems) == 12
    changed = 0
    for stem in stems:
        before, after = (read_cam(finished / stage / 'cam' / f'{stem}.npz') for stage in ('cam', 'walk'))
        assert after.classes.tolist() == before.classes.tolist() and after.cam.shape == before.cam.shape
        changed += not np.allclose(after.cam, before.cam, atol=0.01)
        label = read_label(finished / 'walk/labels' / f'{stem}.png')
        assert label.shape == after.size and set(np.unique(label)) <= {0, *(after.classes + 1)}
    assert changed > 6
    manifest = json.loads((finished / 'walk/cam/manifest.json').read_text())
    assert manifest['extra']['class_filter'] == 'label'
    assert manifest['extra']['refined']['checkpoint_sha256'] == json.loads(
        (finished / 'cam/cam/manifest.json').read_text())['checkpoint_sha256']
    for stage in ('eval_walk', 'eval_walk_label'):
        assert 0 < json.loads((finished / stage / 'metrics.json').read_text())['mIoU'] < 1


def test_complete_pipeline_is_reused(finished, config, generated_root):
    pipeline = Pipeline(config, generated_root, finished)
    pipeline.run()
    assert all(row['reused'] for row in pipeline.rows)


def test_refined_cams_and_labels_are_no_part_of_the_data(finished, cfg, generated_root, tmp_path):
    checkpoint, cams = finished / 'affinity/epoch_1.pth', finished / 'cam/cam'
    with pytest.raises(UserError, match='JPEGImages/cam: is a folder of the data set'):
        refine_cam(cfg, checkpoint, cams, generated_root / 'JPEGImages', 'train')
    cfg.test_dataloader.dataset.mask_dir = str(tmp_path / 'labels')
    with pytest.raises(UserError, match='labels: is a folder of the data set'):
        refine_cam(cfg, checkpoint, cams, tmp_path, 'train')
    assert not list(tmp_path.iterdir())


def test_going_on_writes_the_same_bytes(finished, cfg, tmp_path):
    checkpoint, cams = finished / 'affinity/epoch_1.pth', finished / 'cam/cam'
    result = refine_cam(cfg, checkpoint, cams, tmp_path, 'train')
    assert result.metrics == dict(num_cams=12, num_labels=12)
    for folder in ('cam', 'labels'):
        assert contents(tmp_path / folder) == contents(finished / 'walk' / folder)
    victim = next((tmp_path / 'cam').glob('*.npz'))
    victim.unlink()
    (tmp_path / 'labels' / f'{victim.stem}.png').write_bytes(b'')  # as if it had been killed in between
    assert 0 < refine_cam(cfg, checkpoint, cams, tmp_path, 'train').metrics['num_cams'] < 12
    for folder in ('cam', 'labels'):
        assert contents(tmp_path / folder) == contents(finished / 'walk' / folder)
    assert refine_cam(cfg, checkpoint, cams, tmp_path, 'train').metrics['num_cams'] == 0
    for path in cams.glob('*.npz'):  # made again, later than what was refined from them
        if path.stem == victim.stem:
            os.utime(path)
    assert refine_cam(cfg, checkpoint, cams, tmp_path, 'train').metrics['num_cams'] > 0


def test_large_images(finished, cfg, tmp_path, monkeypatch):
    """As for CAMs: smaller than they are, in parts, or named, and CAM files keep the size that the image has."""
    checkpoint, cams, real, sizes = finished / 'affinity/epoch_1.pth', finished / 'cam/cam', CAMTestLoop._forward, []

    def forward(loop, batch):
        sizes.append(tuple(batch['inputs'][0].shape[-2:]))
        if len(batch['inputs']) > 1 or 'train_00003' in batch['data_samples'][0].img_path:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate many bytes")
        return real(loop, batch)
    monkeypatch.setattr(CAMTestLoop, '_forward', forward)
    result = refine_cam(cfg, checkpoint, cams, tmp_path / 'parts', 'train')
    assert result.metrics['num_cams'] == 11
    (path, reason), = result.skipped
    assert 'train_00003' in path and 'no memory' in reason
    monkeypatch.setattr(CAMTestLoop, '_forward', lambda loop, batch: sizes.append(
        tuple(batch['inputs'][0].shape[-2:])) or real(loop, batch))
    monkeypatch.setattr('mmwsss.engine.loops.MIN_SIDE', 16)
    sizes.clear()
    cfg.test_cfg.max_side = 32
    refine_cam(cfg, checkpoint, cams, tmp_path / 'small', 'train')
    assert {max(size) for size in sizes} == {32}
    for path in (tmp_path / 'small/cam').glob('*.npz'):
        small, plain = read_cam(path), read_cam(finished / 'walk/cam' / path.name)
        assert small.size == plain.size and small.cam.shape == plain.cam.shape


def test_labels_by_a_postprocessor(finished, cfg, tmp_path, generated_root):
    """They are written beside the test loop, and are those of the refined CAM files."""
    checkpoint, cams, background = finished / 'affinity/epoch_1.pth', finished / 'cam/cam', dict(type='power', alpha=2)
    refine_cam(cfg, checkpoint, cams, tmp_path / 'a', 'train', background=background)
    make_pseudo_label(tmp_path / 'a/cam', generated_root, 'train', tmp_path / 'b', background, num_workers=0)
    assert contents(tmp_path / 'a/labels') == contents(tmp_path / 'b') != contents(finished / 'walk/labels')
    next((tmp_path / 'a/labels').glob('*.png')).unlink()  # as if it had been killed before a worker was done
    assert refine_cam(cfg, checkpoint, cams, tmp_path / 'a', 'train', background=background).metrics['num_labels'] > 0
    assert contents(tmp_path / 'a/labels') == contents(tmp_path / 'b')
    with pytest.raises(UserError, match='manifest'):
        refine_cam(cfg, checkpoint, cams, tmp_path / 'a', 'train')


def test_wrong_inputs(finished, cfg, tmp_path, config, generated_root):
    checkpoint = finished / 'affinity/epoch_1.pth'
    with pytest.raises(UserError, match=r'manifest\.json: no such file'):
        refine_cam(cfg, checkpoint, tmp_path / 'nowhere', tmp_path / 'out', 'train')
    with pytest.raises(UserError, match='is the folder of the CAMs to refine'):
        refine_cam(cfg, checkpoint, finished / 'cam/cam', finished / 'cam', 'train')
    with pytest.raises(UserError, match=r'cam\.py: loads no CAMs'):
        refine_cam(load_config(config.with_name('cam.py'), generated_root), checkpoint, finished / 'cam/cam',
                   tmp_path / 'out', 'train')
    refine_cam(cfg, checkpoint, finished / 'cam/cam', tmp_path / 'out', 'train')
    with pytest.raises(UserError, match='manifest'):  # what is there was refined from other CAMs
        refine_cam(cfg, checkpoint, finished / 'walk/cam', tmp_path / 'out', 'train')


def test_mistakes_leave_nothing_behind(finished, cfg, tmp_path):
    checkpoint, cams, out = finished / 'affinity/epoch_1.pth', finished / 'cam/cam', tmp_path / 'out'
    stem = next(cams.glob('*.npz')).stem
    with pytest.raises(UserError, match='alpha must be above 0'):
        refine_cam(cfg, checkpoint, cams, out, 'train', background=dict(type='power', alpha=0))
    (out / 'labels').mkdir(parents=True)
    (out / 'labels' / f'{stem}.png').write_bytes(b'precious')
    with pytest.raises(UserError, match='choose another --out-dir'):
        refine_cam(cfg, checkpoint, cams, out, 'train')
    assert (out / 'labels' / f'{stem}.png').read_bytes() == b'precious' and not (out / 'cam').exists()
    manifest = json.loads((cams / 'manifest.json').read_text())
    (tmp_path / 'others').mkdir()
    (tmp_path / 'others/manifest.json').write_text(json.dumps({**manifest, 'classes': manifest['classes'][::-1]}))
    with pytest.raises(UserError, match=r'others/manifest\.json: the CAMs are of the classes'):
        refine_cam(cfg, checkpoint, tmp_path / 'others', tmp_path / 'new', 'train')
    assert not (tmp_path / 'new/cam').exists()


def test_missing_cam_is_named(finished, cfg, tmp_path):
    cams = tmp_path / 'cams'
    cams.mkdir()
    for path in (finished / 'cam/cam').iterdir():
        if path.is_file():
            os.link(path, cams / path.name)
    victim = sorted(cams.glob('*.npz'))[3]
    victim.unlink()
    with pytest.raises(UserError, match=f'{victim.name}: no such CAM file'):
        refine_cam(cfg, finished / 'affinity/epoch_1.pth', cams, tmp_path / 'out', 'train')


def test_checkpoint_of_other_classes_will_do(finished, cfg, generated_copy, tmp_path):
    """AffinityNet knows no classes: one trained on some serves others."""
    names = (generated_copy / 'classes.txt').read_text().split()
    assert cfg.train_dataloader.dataset.type == 'VOCSegDataset'  # its classes begin with the background
    result = refine_cam(cfg, finished / 'affinity/epoch_1.pth', finished / 'cam/cam', tmp_path / 'out', 'train')
    manifest = json.loads((tmp_path / 'out/cam/manifest.json').read_text())
    assert result.metrics['num_cams'] == 12 and manifest['classes'] == names


def test_stage_whose_folder_is_gone_is_done_again(finished, config, generated_root, tmp_path):
    work = shutil.copytree(finished, tmp_path / 'work')
    shutil.rmtree(work / 'walk/labels')
    pipeline = Pipeline(config, generated_root, work)
    assert pipeline.run() == EXIT_DONE
    assert [row['stage'] for row in pipeline.rows if not row['reused']] == ['walk']
    assert contents(work / 'walk/labels') == contents(finished / 'walk/labels')


@pytest.mark.parametrize(('source', 'message'), [('nothing/labels', "reads 'nothing/labels'"),
                                                 ('walk/masks', 'there is no folder')])
def test_folder_of_a_stage_that_is_not_there(finished, config, generated_root, tmp_path, source, message):
    path = tmp_path / 'pipeline.py'
    path.write_text(PIPELINE.replace('walk/labels', source).replace("'cam.py'", f"'{config.with_name('cam.py')}'")
                    .replace("'affinity.py'", f"'{config.with_name('affinity.py')}'"))
    with pytest.raises(UserError, match=message):
        Pipeline(path, generated_root, finished).run()


def test_tool(finished, config, generated_root, repo_root, tmp_path):
    command = [warm_python(), str(repo_root / 'tools/refine_cam.py'), str(config.with_name('affinity.py')),
               str(finished / 'affinity/epoch_1.pth')]
    options = ['--data-root', str(generated_root), '--split', 'train', '--out-dir', str(tmp_path / 'out')]
    (tmp_path / 'labels.py').write_text("background = dict(type='constant', threshold=0.5)\n")
    label_config = ['--label-config', str(tmp_path / 'labels.py')]
    done = subprocess.run([*command, str(finished / 'cam/cam'), *options, *label_config], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0 and '12 CAMs refined' in done.stdout
    assert contents(tmp_path / 'out/cam') == contents(finished / 'walk/cam')
    assert len(contents(tmp_path / 'out/labels')) == 12
    bad = subprocess.run([*command, str(tmp_path / 'nowhere'), *options], capture_output=True, text=True, timeout=120)
    assert bad.returncode == 1 and 'Traceback' not in bad.stderr and 'nowhere' in bad.stderr
