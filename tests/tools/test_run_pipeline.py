"""The pipeline as a process that is killed."""
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from warm_python import warm_python

# Ten for the record of a release, two in the daily suite: every restart takes some seconds.
KILLS = int(os.environ.get('MMWSSS_TEST_KILLS', '2'))


def command(repo_root, pipeline, data_root, work, python=None):
    return [python or warm_python(), str(repo_root / 'tools/run_pipeline.py'), str(pipeline),
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


def run(arguments, limit=240):
    """Runs a process; returns whether it was killed at the limit, how long it took and when it had made its folder."""
    work = Path(arguments[-1])
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    start = time.monotonic()
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    imported = None
    try:
        while (passed := time.monotonic() - start) < limit:
            if imported is None and work.exists():
                imported = passed
            try:
                _, errors = process.communicate(timeout=min(0.05, limit - passed))
            except subprocess.TimeoutExpired:
                continue
            assert process.returncode == 0, errors[-3000:]
            return False, time.monotonic() - start, imported
        return True, limit, imported
    finally:
        process.kill()
        process.wait()
        if not process.stderr.closed:
            process.stderr.read()  # ends with the pipeline itself: a warm Python is killed a moment later
        process.stderr.close()


def kill_often(arguments, backup, imported, duration):
    """Runs a process that resumes again and again, and kills it KILLS times, each time at a random moment.

    Args:
        arguments: Of the process; the last is its work folder.
        backup: A folder for the work folder as it was before a run.
        imported: Seconds until it starts to work; a kill before tells nothing.
        duration: Seconds that a whole run takes.
    """
    work = Path(arguments[-1])
    chance = random.Random(0)
    kills, longest = 0, duration
    for _ in range(5 * KILLS):
        if work.exists():
            shutil.copytree(work, backup)
        killed, passed, _ = run(arguments, chance.uniform(imported, max(imported, longest)))
        if killed:
            kills += 1
            if kills == KILLS:
                break
        else:  # done before the kill: once more from where it started, and the kill comes earlier
            longest, imported = passed, min(imported, passed / 2)  # the machine may have been busier before
            shutil.rmtree(work)
            if backup.exists():
                shutil.copytree(backup, work)
        shutil.rmtree(backup, ignore_errors=True)
    assert kills == KILLS


def test_killed_and_resumed_pipeline_ends_as_an_undisturbed_one(repo_root, tiny_pipeline, generated_root, tmp_path):
    whole = command(repo_root, tiny_pipeline, generated_root, tmp_path / 'whole')
    killed, duration, imported = run(whole)
    assert not killed
    disturbed = command(repo_root, tiny_pipeline, generated_root, tmp_path / 'killed')
    kill_often(disturbed, tmp_path / 'backup', imported, duration)
    # Ended by a new interpreter, in which the hashes of strings are others and so is the order of a set.
    killed, *_ = run(command(repo_root, tiny_pipeline, generated_root, tmp_path / 'killed', sys.executable))
    assert not killed

    expected, found = content(tmp_path / 'whole'), content(tmp_path / 'killed')
    assert len(expected[0]) == 12 + 12 + 4 + 2
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2] == expected[2]
    report = json.loads((tmp_path / 'killed/report.json').read_text())
    assert report
