import shutil
from types import SimpleNamespace

import pytest

from mmwsss.apis.stages import STAGES, on_main_process, picture
from mmwsss.utils.errors import UserError


@pytest.fixture
def pipeline(generated_root):
    return SimpleNamespace(data_root=generated_root, classes=(generated_root / 'classes.txt').read_text().split())


def test_picture_is_of_images_that_have_everything(pipeline, generated_root, tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    with pytest.raises(UserError, match='none of the images'):
        picture(folder=tmp_path / 'out', pipeline=pipeline, split='val', pseudo_label=str(labels))
    shutil.copy(generated_root / 'SegmentationClass/val_00000.png', labels)
    result = picture(folder=tmp_path / 'out', pipeline=pipeline, split='val', pseudo_label=str(labels))
    assert result.output == str(tmp_path / 'out/val.png') and (tmp_path / 'out/val.png').is_file()


def test_errors_of_the_main_process_come_out(tmp_path):
    def fail(**kwargs):
        raise UserError(f'no {kwargs["folder"]}')
    with pytest.raises(UserError, match='no there'):
        on_main_process(fail)(folder='there')


def test_stages_are_documented():
    assert all(function.__doc__ for function in STAGES.values())
