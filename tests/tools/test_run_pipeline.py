"""The pipeline as a process that is killed."""
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import torch

# Ten for the record of a release, two in the daily suite: every restart takes some seconds.
KILLS = int(os.environ.get('MMWSSS_TEST_KILLS', '2'))


def command(repo_root, pipeline, data_root, work):
    return [sys.executable, '-W', 'ignore', str(repo_root / 'tools/run_pipeline.py'), str(pipeline),
            '--data-root', str(data_root), '--work-dir', str(work)]


def content(work):
    """CAM files and label maps by hash, the weights by tensor, the metrics by value."""
    files = {str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
             for pattern in ('cam/cam/*.npz', 'label/labels/*.png', 'eval_segmentor/predictions/*.png',
                             'picture_*/*.png')
             for path in work.glob(pattern)}
    weights = {f'{path.parent.name}/{key}': value.flatten().tolist()
               for path in work.glob('*/epoch_*.pth')
               for key, value in torch.load(path, weights_only=True)['state_dict'].items()}
    metrics = {path.parent.name: json.loads(path.read_text()) for path in work.glob('*/metrics.json')}
    return files, weights, metrics


def test_killed_and_resumed_pipeline_ends_as_an_undisturbed_one(repo_root, tiny_pipeline, generated_root, tmp_path):
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(repo_root))
    start = time.monotonic()
    done = subprocess.run(command(repo_root, tiny_pipeline, generated_root, tmp_path / 'whole'), env=environment,
                          capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    duration = time.monotonic() - start

    chance = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(command(repo_root, tiny_pipeline, generated_root, tmp_path / 'killed'),
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # Imports take the first seconds; whatever runs then is hit at a random moment.
            process.wait(chance.uniform(0.3, 0.95) * duration)
            break  # finished before it could be killed: everything was complete
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills > 0
    done = subprocess.run(command(repo_root, tiny_pipeline, generated_root, tmp_path / 'killed'), env=environment,
                          capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    expected, found = content(tmp_path / 'whole'), content(tmp_path / 'killed')
    assert len(expected[0]) == 12 + 12 + 4 + 2
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2] == expected[2]
    report = json.loads((tmp_path / 'killed/report.json').read_text())
    assert report
