import pytest

from mmwsss.apis.cam_checks import check_refinement
from mmwsss.structures.cam_file import CAMManifest, open_cam_dir
from mmwsss.utils.errors import UserError

CLASSES = ('cat', 'dog')


@pytest.fixture
def check(tmp_path):
    """Checks the refinement of ``cams`` to ``out``, with options of the label writer."""
    open_cam_dir(tmp_path / 'cams', CAMManifest('ab', 'cd', CLASSES))

    def run(classes=CLASSES, **options):
        writer = dict(type='PseudoLabelWriter', out_dir=str(tmp_path / 'out/labels'), **options)
        check_refinement(tmp_path / 'cams', tmp_path / 'out/cam', writer, classes)

    return run


@pytest.mark.parametrize('classes', [CLASSES[::-1], CLASSES[:1], (*CLASSES, 'owl')])
def test_other_classes(check, classes):
    check()
    with pytest.raises(UserError, match=r'cams/manifest\.json: the CAMs are of the classes'):
        check(classes)


@pytest.mark.parametrize('options, message', [
    (dict(background=dict(type='power', alpha=-1)), 'alpha'), (dict(postprocessors=[dict(type='DenseCRF')]), 'need a'),
    (dict(background=dict(type='constant', threshold=0.2), postprocessors=[dict(type='Nothing')]), 'Nothing')])
def test_settings_of_the_label_maps(check, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        check(**options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['a.png', 'sub/a.png'])
def test_label_maps_of_something_else(check, tmp_path, name):
    path = tmp_path / 'out/labels' / name
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UserError, match=r'out/labels: has png files that were not made with .*out/cam'):
        check()
    open_cam_dir(tmp_path / 'out/cam', CAMManifest('ab', 'cd', CLASSES))  # they are those of its CAM files
    check()
