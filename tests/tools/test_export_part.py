import sys

import pytest
import torch

from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def tool(load_tool, tmp_path, monkeypatch, capsys):
    """Runs the tool in this process on a checkpoint: (exit code, stdout, stderr)."""
    module = load_tool('model_converters/export_part.py')
    weights = torch.arange(24.0).view(4, 6)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=('one', 'two')), epoch=3), optimizer=dict(lr=1.0), state_dict={
        'main_net.a': weights[1:3], 'main_net.b.c': torch.tensor(5), 'support_net.a': weights, 'main_network': weights,
    }), tmp_path / 'whole.pth')

    def run(*options):
        monkeypatch.setattr(sys, 'argv', [module.__file__, *map(str, options)])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def test_writes_the_weights_of_the_part_and_the_classes(tool, tmp_path):
    src, dst = tmp_path / 'whole.pth', tmp_path / 'new/part.pth'
    code, out, err = tool(src, dst, '--part', 'main_net')
    assert (code, err) == (0, '') and out == f'{dst}: written, 2 keys of main_net\n'
    part = torch.load(dst, weights_only=True)
    assert list(part) == ['state_dict', 'meta'] and part['meta'] == dict(dataset_meta=dict(classes=('one', 'two')))
    assert list(part['state_dict']) == ['a', 'b.c']
    assert part['state_dict']['a'].tolist() == torch.arange(6.0, 18).view(2, 6).tolist()
    assert part['state_dict']['a'].untyped_storage().nbytes() == 12 * 4  # not the whole of which it was a view


@pytest.mark.parametrize('src, dst, part, message', [
    ('whole.pth', 'part.pth', 'main', "no key starts with 'main.'; name a part of the model"),
    ('none.pth', 'part.pth', 'main_net', 'no such checkpoint file'),
    ('whole.pth', 'whole.pth', 'main_net', 'is the checkpoint of the whole model; give another file to write')])
def test_mistakes_end_in_one_line(tool, tmp_path, src, dst, part, message):
    before = (tmp_path / 'whole.pth').read_bytes()
    code, _, err = tool(tmp_path / src, tmp_path / dst, '--part', part)
    assert code == 1 and err.count('\n') == 1 and message in err
    assert (tmp_path / 'whole.pth').read_bytes() == before and not (tmp_path / 'part.pth').exists()
