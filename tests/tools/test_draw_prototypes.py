import subprocess

import pytest
import torch
from warm_python import warm_python


def run(repo_root, *arguments):
    return subprocess.run([warm_python(), str(repo_root / 'tools/draw_prototypes.py'), *map(str, arguments)],
                          capture_output=True, text=True, timeout=120)


def test_picture_of_a_checkpoint(repo_root, tmp_path):
    torch.manual_seed(0)
    weights = {'rcm.prototypes': torch.randn(4, 5), 'rcm.seen': torch.tensor([1, 1, 0, 1]).bool()}
    torch.save(dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=['cat', 'dog', 'owl']))),
               tmp_path / 'epoch.pth')
    done = run(repo_root, tmp_path / 'epoch.pth', '--out', tmp_path / 'a.png')
    assert done.returncode == 0 and '3 prototypes' in done.stdout and 'never seen: dog' in done.stdout
    assert (tmp_path / 'a.png').is_file()


def test_semantics_of_an_encoder_are_rectified(tmp_path, capsys, monkeypatch):
    from mmwsss.cli.main import main
    from mmwsss.visualization import prototypes
    drawn = {}
    monkeypatch.setattr(prototypes, 'plot_cosine_matrix',
                        lambda vectors, names, path, title: drawn.update(vectors=vectors, names=names, title=title))
    semantics = torch.tensor([[1.0, 0, -3], [0, 2, -3], [0, -1, -1]])
    for prefix in ('', 'encoder.'):
        torch.save(dict(state_dict={f'{prefix}semantics.weight': semantics}), tmp_path / 'epoch.pth')
        with pytest.raises(SystemExit) as ended:
            main(['draw', 'prototypes', str(tmp_path / 'epoch.pth'), '--out', str(tmp_path / 'a.png')])
        assert not ended.value.code
        out = capsys.readouterr().out
        # Without the rectifier the third column would make the two alike.
        assert '2 semantics, mean cosine of two 0.000; never seen: class 1' in out
        assert drawn['vectors'].tolist() == [[1, 0, 0], [0, 2, 0]]
        assert drawn['names'] == ['background', 'class 0'] and drawn['title'] == 'Semantics'


def test_checkpoint_without_prototypes(repo_root, tmp_path):
    torch.save(dict(state_dict={'conv.weight': torch.ones(1)}), tmp_path / 'other.pth')
    done = run(repo_root, tmp_path / 'other.pth', '--out', tmp_path / 'a.png')
    assert done.returncode == 1 and 'other.pth: has no prototypes' in done.stderr and 'Traceback' not in done.stderr
