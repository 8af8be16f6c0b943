import json

import pytest

from mmwsss.structures import SettingsFolder
from mmwsss.structures.settings_folder import differing_settings
from mmwsss.utils.errors import UserError

SETTINGS = dict(threshold=.3, scales=(1, 2), extra=dict(stride=4, class_filter='label'))


def folder(path, settings=SETTINGS, **options):
    return SettingsFolder(path, settings, 'labels', **dict(dict(suffix='.png', option='--out-dir'), **options))


def test_new_folder_and_the_same_again(tmp_path):
    new = folder(tmp_path / 'a/b')
    assert new.check() and not (tmp_path / 'a').exists()
    assert new.open() and not folder(tmp_path / 'a/b').open()
    assert json.loads(new.manifest.read_text()) == dict(SETTINGS, scales=[1, 2])


def test_leftovers_go_only_where_the_folder_is_ours(tmp_path, leftover):
    folder(tmp_path).open()
    gone, stays = leftover(tmp_path / 'sub/a.png'), leftover(tmp_path / 'b.png', alive=True)
    with pytest.raises(UserError):
        folder(tmp_path, dict(SETTINGS, threshold=.4)).open()
    assert gone.exists()
    folder(tmp_path).open()
    assert stays.exists() and not gone.exists()


@pytest.mark.parametrize('changes, names', [
    (dict(threshold=.4), 'threshold'), (dict(threshold=None, scales=[1]), 'threshold, scales'),
    (dict(extra=dict(stride=8, class_filter='label')), 'stride'), (dict(extra=dict(stride=4)), 'class_filter'),
    (dict(added=1), 'added')])
def test_other_settings_are_named(tmp_path, changes, names):
    folder(tmp_path).open()
    other = folder(tmp_path, dict(SETTINGS, **changes), groups=('extra',))
    with pytest.raises(UserError, match=rf'manifest\.json: the labels there .* \({names}\); .*\(--out-dir\)'):
        other.check()
    assert differing_settings(dict(extra=1), dict(extra=dict(a=2)), ('extra',)) == ['extra']


def test_an_empty_folder_binds_where_it_shall(tmp_path):
    folder(tmp_path).open()
    other = dict(SETTINGS, threshold=.4)
    with pytest.raises(UserError, match='threshold'):
        folder(tmp_path, other).open()
    assert folder(tmp_path, other, binds_when_empty=False).open()
    (tmp_path / 'a.png').write_bytes(b'')
    with pytest.raises(UserError, match='threshold'):
        folder(tmp_path, binds_when_empty=False).open()


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    for path in (tmp_path / 'file', tmp_path / 'file/sub'):
        with pytest.raises(UserError, match='is a file'):
            folder(path).check()
    (tmp_path / 'x/sub').mkdir(parents=True)
    (tmp_path / 'x/.hidden').write_bytes(b'')
    (tmp_path / 'x/sub/a.png').write_bytes(b'')
    with pytest.raises(UserError, match=r'x: has png files but no manifest\.json.*\(--out-dir\)'):
        folder(tmp_path / 'x').check()
    assert folder(tmp_path / 'x', suffix='.npz').check()
    with pytest.raises(UserError, match=r'x: has files but no'):
        folder(tmp_path / 'x', suffix=None).check()
    for content in ('', '[1]', '{'):
        (tmp_path / 'x/manifest.json').write_text(content)
        with pytest.raises(UserError, match=r'manifest\.json: cannot be read \(.*\(--out-dir\)'):
            folder(tmp_path / 'x').check()
