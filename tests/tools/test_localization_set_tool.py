import sys

import pytest

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets import LocalizationDataset


@pytest.fixture
def tool(load_tool, monkeypatch, capsys):
    module = load_tool('dataset_converters/localization_set.py')

    def run(*options):
        monkeypatch.setattr(sys, 'argv', [module.__file__, *map(str, options)])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())
    return run


def test_masks_with_held_out_images(tool, generated_root, tmp_path):
    code, out, _ = tool('masks', generated_root, '--out-dir', tmp_path / 'set', '--split', 'train', '--held-out', '.3')
    assert code == 0 and 'images in the split train' in out and 'held_out: ' in out
    held = LocalizationDataset(tmp_path / 'set', 'held_out', require_boxes=True)
    assert len(held) > 0 and all(info['gt_img_label'].sum() == 1 for info in held)


def test_mistakes(tool, generated_root, tmp_path):
    code, out, err = tool('cub', generated_root, '--out-dir', tmp_path / 'set', '--split', 'val')
    assert (code, out) == (1, '') and err.count('\n') == 1 and '--split: is one of train, test' in err
