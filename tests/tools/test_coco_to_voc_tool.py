import json
import sys

import cv2
import numpy as np
import pytest

from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def tool(load_tool, tmp_path, monkeypatch, capsys):
    module = load_tool('dataset_converters/coco_to_voc.py')
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.png'), np.zeros((4, 6, 3), np.uint8))

    def run(content, *options):
        (tmp_path / 'instances_val.json').write_text(json.dumps(content))
        monkeypatch.setattr(sys, 'argv', [
            module.__file__, str(tmp_path / 'images'), str(tmp_path / 'instances_val.json'), '--out-dir',
            str(tmp_path / 'voc'), '--num-workers', '0', *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(module.main)
        return (caught.value.code, *capsys.readouterr())
    return run


IMAGE = {'id': 1, 'file_name': 'a.png', 'height': 4, 'width': 6}
CROWD = {'image_id': 1, 'category_id': 1, 'iscrowd': 1, 'segmentation': {'size': [4, 6], 'counts': 'h0'}}
CONTENT = {'images': [IMAGE], 'annotations': [CROWD], 'categories': [{'id': 1, 'name': 'cat'}]}


def test_exit_codes_and_messages(tool, tmp_path):
    assert tool(CONTENT) == (0, f'{tmp_path}/voc: 1 images in the split val, 1 classes\n', '')
    code, _, err = tool(CONTENT, '--no-crowd')  # what is there, and not counted, is no negative
    assert code == 1 and 'a.png: no label: all its annotations are crowds' in err
    code, out, _ = tool({**CONTENT, 'annotations': []}, '--no-crowd', '--split', 'test', '--copy')
    assert code == 0 and 'split test' in out and '1 images have no class' in out
    code, _, err = tool({**CONTENT, 'images': [IMAGE, {'id': 2, 'file_name': 'b.png'}]})
    assert code == 3 and err == f'left out: {tmp_path}/images/b.png: missing image\n'
    code, out, err = tool({'images': []})
    assert (code, out) == (1, '') and err.count('\n') == 1 and 'instances_val.json' in err


def test_masks(tool, tmp_path):
    assert tool(CONTENT, '--masks')[0] == 0  # 'h0': 24 pixels of 0
    assert not cv2.imread(str(tmp_path / 'voc/SegmentationClass/a.png'), cv2.IMREAD_GRAYSCALE).any()
