import subprocess
import sys

import torch


def run(repo_root, *arguments):
    return subprocess.run([sys.executable, str(repo_root / 'tools/draw_prototypes.py'), *map(str, arguments)],
                          capture_output=True, text=True, timeout=120)


def test_picture_of_a_checkpoint(repo_root, tmp_path):
    torch.manual_seed(0)
    weights = {'rcm.prototypes': torch.randn(4, 5), 'rcm.seen': torch.tensor([1, 1, 0, 1]).bool()}
    torch.save(dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=['cat', 'dog', 'owl']))),
               tmp_path / 'epoch.pth')
    done = run(repo_root, tmp_path / 'epoch.pth', '--out', tmp_path / 'a.png')
    assert done.returncode == 0 and '3 prototypes' in done.stdout and 'never seen: dog' in done.stdout
    assert (tmp_path / 'a.png').is_file()


def test_checkpoint_without_prototypes(repo_root, tmp_path):
    torch.save(dict(state_dict={'conv.weight': torch.ones(1)}), tmp_path / 'other.pth')
    done = run(repo_root, tmp_path / 'other.pth', '--out', tmp_path / 'a.png')
    assert done.returncode == 1 and 'other.pth: has no prototypes' in done.stderr and 'Traceback' not in done.stderr
