"""Importing the package changes nothing outside of it; ``setup`` does, and whatever runs something calls it."""
import json
import os
import subprocess
import sys

import pytest
from warm_python import warm_python

import mmwsss
from mmwsss.engine import checkpoint

PACKAGES = ('apis', 'apis.inferencer', 'apis.runner', 'cli.main', 'config.config', 'datasets', 'engine', 'evaluation',
            'experiments.pipeline.pipeline', 'inference', 'models', 'postprocessing', 'visualization')
STATE = '''
import json, os, sys, warnings
def state():
    from mmengine.runner.checkpoint import CheckpointLoader
    return [os.environ.get('OMP_WAIT_POLICY'), [str(f) for f in warnings.filters],
            sorted({loader.__module__ for loader in CheckpointLoader._schemes.values()})]
'''


def run(script, tmp_path, repo_root, python=None):
    environment = {key: value for key, value in os.environ.items() if key not in ('OMP_WAIT_POLICY', 'PYTHONWARNINGS')}
    environment.update(PYTHONPATH=str(repo_root), OMP_NUM_THREADS='1')
    done = subprocess.run([python or warm_python(), '-c', script], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_import_changes_nothing_global_and_setup_does(tmp_path, repo_root):
    script = f'''{STATE}
import mmwsss
assert 'torch' not in sys.modules and 'mmengine' not in sys.modules
# What the packages underneath change at their import is theirs.
import torch, mmengine, mmcv, mmseg, matplotlib, scipy, mmengine.runner
with warnings.catch_warnings(), __import__('contextlib').redirect_stdout(sys.stderr):
    warnings.simplefilter('ignore')
    import mmseg.models, mmseg.datasets, mmseg.engine, mmseg.evaluation, mmseg.visualization
import ctypes
real, calls = ctypes.CDLL, []
class CDLL(real):
    def __init__(self, name, *args, **kwargs):
        calls.append(name)
        super().__init__(name, *args, **kwargs)
before = state()
ctypes.CDLL = CDLL
for name in {PACKAGES!r}:
    __import__('mmwsss.' + name)
after = state()
imported = list(calls)
mmwsss.setup()
print(json.dumps([before, after, imported, state(), calls]))
'''
    before, after, imported, ready, calls = run(script, tmp_path, repo_root, sys.executable)
    assert after == before and None not in imported and before[0] is None
    assert ready[0] == 'PASSIVE' and ready[2] == ['mmwsss.engine.checkpoint'] and before[2] != ready[2]
    assert len(ready[1]) > len(before[1])
    import torch
    assert (None in calls) == (not torch.cuda.is_available())  # the C library was told to keep memory


def test_registry_is_an_attribute_without_an_import(tmp_path, repo_root):
    assert run('import json, mmwsss; print(json.dumps(mmwsss.registry.MODELS.scope))', tmp_path, repo_root) == 'mmwsss'
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mmwsss.nothing  # noqa: B018


def test_a_missing_stack_is_said_by_what_needs_it(tmp_path, repo_root):
    script = '''
import json, sys, mmwsss
sys.modules['mmseg'] = None
messages = []
for name in ('mmwsss.registry', 'mmwsss.datasets'):
    try:
        __import__(name)
    except ImportError as error:
        messages.append(str(error))
print(json.dumps(messages))
'''
    messages = run(script, tmp_path, repo_root)
    assert len(messages) == 2 and all('mmwsss needs mmseg' in text and 'pip install' in text for text in messages)


def test_strict_loading_needs_no_setup(tmp_path, monkeypatch):
    """The loaders of mmwsss itself are safe whether or not anything was set up."""
    from mmengine.runner.checkpoint import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes', {'': lambda *args, **kwargs: pytest.fail('unsafe loader')})
    with pytest.raises(checkpoint.UserError, match='no such checkpoint file'):
        checkpoint.load_checkpoint(tmp_path / 'absent.pth')


def test_setup_keeps_what_the_user_has_set(tmp_path, repo_root):
    script = ('import os, json; os.environ["OMP_WAIT_POLICY"] = "ACTIVE"; import mmwsss; mmwsss.setup(); '
              'mmwsss.setup(); print(json.dumps(os.environ["OMP_WAIT_POLICY"]))')
    assert run(script, tmp_path, repo_root) == 'ACTIVE'
