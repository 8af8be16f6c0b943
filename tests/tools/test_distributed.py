"""Training and CAM making in two processes on the CPU, through the tools."""
import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from warm_python import warm_python


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


@pytest.fixture(scope='module')
def config(tmp_path_factory, repo_root, tiny_cam_options):
    """A tiny CAM config as a file."""
    cfg = Config.fromfile(repo_root / 'configs/cam/cam_efflite0_small.py')
    cfg.merge_from_dict({**tiny_cam_options, 'train_cfg.max_epochs': 1, 'train_dataloader.batch_size': 4,
                         'test_dataloader.batch_size': 2, 'num_threads': 1,
                         # Statistics of a batch depend on its size; nothing else in the training may.
                         'model.backbone.norm_eval': True})
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    cfg.dump(path)
    return path


def call(repo_root, command, **environment):
    """Runs a command on this checkout, one thread a process, and returns what it printed.

    PYTHON_EXEC is what torch.distributed.run starts ranks with.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=240, check=False,
                          env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(repo_root), **environment))
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout, done.stderr


def run(repo_root, processes, tool, *arguments):
    command = [warm_python()]
    if processes > 1:
        command += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}', '--master_addr=127.0.0.1',
                    f'--master_port={free_port()}']
    command += [repo_root / 'tools' / tool, *arguments]
    command += ['--launcher', 'pytorch'] if processes > 1 else []
    call(repo_root, command, PYTHON_EXEC=warm_python())


def run_script(repo_root, name, *arguments, python=None):
    python = python or warm_python()
    return call(repo_root, ['bash', repo_root / 'tools' / name, *arguments], PYTHON=python, PYTHON_EXEC=python,
                PORT=str(free_port()))


def weights(checkpoint):
    return {key: value.double() for key, value in torch.load(checkpoint, weights_only=True)['state_dict'].items()}


def test_two_processes_train_test_and_make_the_cams_of_one(repo_root, config, generated_root, tmp_path):
    """Trained and tested by the scripts, which pass their arguments on; the training in new interpreters."""
    checkpoint, metrics = tmp_path / 'work/epoch_1.pth', tmp_path / 'metrics.json'
    stdout, stderr = run_script(repo_root, 'dist_train.sh', config, '2', '--data-root', generated_root,
                                '--work-dir', tmp_path / 'work', python=sys.executable)
    assert stdout.count('trained: ') == 1 and 'Warning' not in stdout + stderr
    meta = torch.load(checkpoint, weights_only=True)['meta']
    assert meta['iter'] == 3  # 12 images, batch 4 of 2 ranks together

    folders = {}
    for processes in (1, 2):
        out = tmp_path / f'cam{processes}'
        run(repo_root, processes, 'make_cam.py', config, checkpoint, '--data-root', generated_root, '--split', 'train',
            '--out-dir', out)
        folders[processes] = {path.name: path.read_bytes() for path in out.glob('*.npz')}
    assert len(folders[1]) == 12
    assert folders[1] == folders[2]

    run_script(repo_root, 'dist_test.sh', config, checkpoint, '2', '--data-root', generated_root, '--work-dir',
               tmp_path / 'work', '--out', metrics)
    assert 'mIoU' in metrics.read_text()


def test_two_processes_train_the_weights_of_one(repo_root, config, generated_root, tmp_path):
    """Two ranks share the batch of 4 that one has, and the mean of their gradients is its gradient."""
    found = {}
    for name, processes, batch in (('start', 1, 12), ('one', 1, 4), ('two', 2, 4)):
        options = [f'train_dataloader.batch_size={batch}']
        options += ['optim_wrapper.optimizer.lr=0'] if name == 'start' else []
        run(repo_root, processes, 'train.py', config, '--data-root', generated_root, '--work-dir', tmp_path / name,
            '--cfg-options', *options)
        found[name] = weights(tmp_path / name / 'epoch_1.pth')
    assert found['one'].keys() == found['two'].keys()
    moved = {key: (found['one'][key] - value).abs().max() for key, value in found['start'].items()}
    assert sum(float(value) > 0 for value in moved.values()) > 100
    for key, expected in found['one'].items():
        # Of how far training has moved it: with other batches, or their sum, it goes another way.
        tolerance = 1e-2 * moved[key] + 1e-6 * expected.abs().max()
        assert (found['two'][key] - expected).abs().max() <= tolerance, key


def test_two_processes_run_a_pipeline(repo_root, config, generated_root, tmp_path):
    """With batches of 4 for each of them: one step of 8 images, at a rate that was chosen for 16."""
    (tmp_path / 'pipeline.py').write_text(f'''
configs = dict(cam={str(config)!r})
stages = dict(
    classifier=dict(type='train', config='cam', split='train'),
    cam=dict(type='make_cam', config='cam', split='train', inputs=dict(checkpoint='classifier')),
    eval_cam=dict(type='eval_cam', split='train', inputs=dict(cams='cam')))
''')
    work = tmp_path / 'work'
    stdout, _ = run_script(repo_root, 'dist_run.sh', 'run_pipeline', '2', tmp_path / 'pipeline.py', '--data-root',
                           generated_root, '--work-dir', work, '--auto-scale-lr', '--cfg-options',
                           'cfg_options.cam.auto_scale_lr.base_batch_size=16')
    assert stdout.count('report: ') == 1 and len(list((work / 'cam/cam').glob('*.npz'))) == 12
    assert json.loads((work / 'eval_cam/metrics.json').read_text())['num_images'] == 12
    check_one_step_at_half_the_rate(work / 'classifier/epoch_1.pth', config)


def check_one_step_at_half_the_rate(checkpoint, config):
    state = torch.load(checkpoint, weights_only=True)
    assert state['meta']['iter'] == 1
    rates = {group['initial_lr'] / group.get('lr_mult', 1) for group in state['optimizer']['param_groups']}
    expected = Config.fromfile(config).optim_wrapper.optimizer.lr / 2
    assert min(rates) == pytest.approx(expected)


def test_two_processes_run_a_study(repo_root, config, generated_root, tmp_path):
    """See the pipeline: the same training, of one row."""
    (tmp_path / 'study.py').write_text(f"configs = dict(cam={str(config)!r})\nrows = [dict(name='a', config='cam')]\n")
    work = tmp_path / 'work'
    stdout, _ = run_script(repo_root, 'dist_run.sh', 'run_study', '2', tmp_path / 'study.py', '--data-root',
                           generated_root, '--work-dir', work, '--auto-scale-lr', '--cfg-options',
                           'cfg_options.auto_scale_lr.base_batch_size=16')
    assert stdout.count('results: ') == 1
    line, = json.loads((work / 'results.json').read_text())['lines']
    assert 0 < line['mIoU']['mean'] < 1
    checkpoint, = work.glob('a/seed0/*/epoch_1.pth')
    check_one_step_at_half_the_rate(checkpoint, config)


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_say_what_they_need(repo_root, name):
    done = subprocess.run(['bash', repo_root / 'tools' / name, 'cam.py'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith('usage: ') and done.stderr.count('\n') == 1
