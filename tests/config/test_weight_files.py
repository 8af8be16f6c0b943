import pytest

from mmwsss.config.weight_files import model_as_tested, with_weights
from mmwsss.utils.fileio import sha256_of_file


@pytest.mark.parametrize('name', ['checkpoint', 'load_from', 'embeddings', 'model'])
def test_files_by_content(tmp_path, name):
    path = tmp_path / 'weights'
    path.write_bytes(b'1')
    found = with_weights(dict(hooks=({name: str(path), 'other': str(path)}, 3)))
    assert found == dict(hooks=[{name: sha256_of_file(path), 'other': str(path)}, 3])
    assert with_weights({name: 'open-mmlab://resnet50'}) == {name: 'open-mmlab://resnet50'}


def test_folders_by_the_content_of_their_files(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    for folder in (first, second):
        (folder / 'below').mkdir(parents=True)
        (folder / 'config.json').write_text('{}')
        (folder / 'model.safetensors').write_bytes(b'1')
    assert with_weights(dict(model=str(first))) == with_weights(dict(model=second))
    (second / 'model.safetensors').write_bytes(b'2')
    assert with_weights(dict(model=str(first))) != with_weights(dict(model=second))


def test_how_a_model_as_tested_was_initialised_does_not_count():
    start = dict(type='StrictPretrained', checkpoint='nowhere.pth')
    model = dict(backbone=dict(type='A', init_cfg=start, cache_dir='here'), cam_head=dict(init_cfg=start, channels=3),
                 inference_hooks=[dict(type='B', cache_dir='here', backbone=dict(type='C', init_cfg=start))])
    assert model_as_tested(model) == dict(
        backbone=dict(type='A'), cam_head=dict(channels=3),
        inference_hooks=[dict(type='B', backbone=dict(type='C', init_cfg=start))])
    assert with_weights(model)['backbone'] == dict(type='A', init_cfg=start)
