import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms.loading import read_saliency
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('benchmark/saliency_bounds.py')


@pytest.mark.parametrize('count', [2, 3, 10, 101])
def test_nobody_keeps_its_own(tool, count):
    for seed in range(3):
        drawn = tool.derangement(count, seed)
        assert sorted(drawn) == list(range(count)) and (drawn != np.arange(count)).all()


def test_maps(tool, generated_root, tmp_path):
    assert tool.main(['--data-root', str(generated_root), '--out-dir', str(tmp_path)]) == 0
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    for stem in stems:
        mask = read_label(generated_root / f'SegmentationClass/{stem}.png')
        truth = read_saliency(tmp_path / f'SaliencyTruth/{stem}.png')
        assert ((truth == 255) == ((mask > 0) & (mask < 255))).all()
        assert ((truth == 127) == (mask == 255)).all() and ((truth == 0) == (mask == 0)).all()
        assert read_saliency(tmp_path / f'SaliencyShuffled/{stem}.png').shape == mask.shape
    same = [np.array_equal(np.array(Image.open(tmp_path / f'SaliencyShuffled/{stem}.png')),
                           read_saliency(generated_root / f'Saliency/{stem}.png')) for stem in stems]
    assert not any(same)


def test_without_saliency(tool, generated_copy, tmp_path):
    next((generated_copy / 'Saliency').glob('train*.png')).unlink()
    with pytest.raises(UserError, match='has no saliency map'):
        tool.main(['--data-root', str(generated_copy), '--out-dir', str(tmp_path)])
