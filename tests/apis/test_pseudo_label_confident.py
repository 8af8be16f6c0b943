"""Labels of confident pixels, from two backgrounds."""

import numpy as np
import pytest
from pseudo_label_data import data_fixture, files, registered  # noqa: F401  two are fixtures

from mmwsss.postprocessing import merge_confident
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError

HIGH, LOW = {'type': 'constant', 'threshold': 0.6}, {'type': 'constant', 'threshold': 0.2}
CONFIDENT = {'type': 'confident', 'foreground': HIGH, 'background': LOW}
# More background where the image is red.
RED = {'type': 'TestBrightness', 'gain': 0.3}


@pytest.mark.parametrize('conflict', ['background', 'class'])
@pytest.mark.parametrize('postprocessors', [
    [], [RED], [{'type': 'DenseCRF', 'iterations': 3}]])
def test_confident_labels_are_two_runs_merged(data, tmp_path, postprocessors, conflict):
    summary = data.make(background={**CONFIDENT, 'conflict': conflict}, postprocessors=postprocessors, num_workers=1)
    data.make(tmp_path / 'high', background=HIGH, postprocessors=postprocessors)
    data.make(tmp_path / 'low', background=LOW, postprocessors=postprocessors)
    found = []
    for stem in data.images:
        label, high, low = (read_label(folder / f'{stem}.png')
                            for folder in (data.out, tmp_path / 'high', tmp_path / 'low'))
        np.testing.assert_array_equal(label, merge_confident(high, low, conflict))
        found.append(label.ravel())
    found = np.concatenate(found)
    assert (found == 255).any() and (found == 0).any() and ((found > 0) & (found < 255)).any()
    assert summary['background_share'] == pytest.approx((found == 0).mean())
    assert summary['ignored_share'] == pytest.approx((found == 255).mean())
    assert not read_label(data.out / 'd.png').any()  # no class: all of it is background


def test_default_conflict(data, tmp_path):
    data.make(background=CONFIDENT)
    data.make(tmp_path / 'named', background={**CONFIDENT, 'conflict': 'background'})
    assert all(path.read_bytes() == (tmp_path / 'named' / path.name).read_bytes() for path in data.out.glob('*.png'))


def test_confident_labels_resume(data, tmp_path):
    whole = data.make(tmp_path / 'whole', background=CONFIDENT)
    data.make(background=CONFIDENT)
    (data.out / 'e.png').unlink()
    resumed = data.make(background=CONFIDENT)
    assert (resumed['made'], resumed['kept']) == (1, 5)
    assert resumed['ignored_share'] == whole['ignored_share'] > 0
    assert files(data.out) == files(tmp_path / 'whole')


@pytest.mark.parametrize('change', [{'foreground': {**HIGH, 'threshold': 0.61}},
                                    {'background': {**LOW, 'threshold': 0.19}}, {'conflict': 'class'}])
def test_confident_labels_of_other_settings_do_not_mix(data, change):
    data.make(background=CONFIDENT)
    before = files(data.out)
    with pytest.raises(UserError, match=r'manifest\.json.*\(background\).*another folder'):
        data.make(background={**CONFIDENT, **change})
    assert files(data.out) == before


@pytest.mark.parametrize('change, message', [
    ({'foreground': LOW, 'background': HIGH}, 'more background'), ({'foreground': 0.6}, 'background must be'),
    ({'conflict': 'ignore'}, 'conflict'), ({'background': CONFIDENT}, 'cannot hold another'),
])
def test_wrong_confident_background_leaves_nothing_behind(data, change, message):
    with pytest.raises(UserError, match=message):
        data.make(background={**CONFIDENT, **change})
    assert not data.out.exists()
