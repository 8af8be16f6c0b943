import tarfile

import numpy as np
import pytest
from PIL import Image

from mmwsss.experiments.pipeline.stages import VOCServer
from mmwsss.structures.label_file import write_label
from mmwsss.utils.errors import UserError


@pytest.fixture
def predictions(generated_root, tmp_path):
    """Of val, which count as VOC's test here: the masks are not looked at."""
    for stem in (generated_root / 'ImageSets/val.txt').read_text().split():
        with Image.open(generated_root / f'JPEGImages/{stem}.jpg') as image:
            write_label(tmp_path / f'predictions/{stem}.png', np.full(image.size[::-1], 2, np.uint8))
    return tmp_path / 'predictions'


def test_archive_has_the_layout_of_the_server(predictions, generated_root, stage_context, tmp_path):
    context = stage_context(generated_root, tmp_path / 'out', inputs=dict(predictions=str(predictions)))
    for _ in range(2):  # an interrupted one goes on
        result = VOCServer(name='server', split='val').run(context)
    with tarfile.open(result.output) as file:
        names = sorted(member.name for member in file.getmembers() if member.isfile())
        file.extractall(tmp_path / 'there', filter='data')
    stems = sorted((generated_root / 'ImageSets/val.txt').read_text().split())
    assert names == [f'results/VOC2012/Segmentation/comp6_test_cls/{stem}.png' for stem in stems]
    with Image.open(tmp_path / 'there' / names[0]) as image:
        assert image.mode == 'P' and set(np.unique(image)) == {2}  # indices into a palette, as the server wants


def test_what_the_server_would_refuse(predictions, generated_root, stage_context, tmp_path):
    context = stage_context(generated_root, tmp_path / 'out', inputs=dict(predictions=str(predictions)))
    stage = VOCServer(name='server', split='val')
    path = sorted(predictions.iterdir())[0]
    label = np.array(Image.open(path))
    for bad, words in ((np.full_like(label, 255), 'pixels to be ignored'), (np.full_like(label, 4), 'the label 4'),
                       (label[1:], 'but its image is not')):
        write_label(path, bad)
        with pytest.raises(UserError, match=words):
            stage.run(context)
    path.unlink()
    with pytest.raises(UserError, match='no such prediction'):
        stage.run(context)
    with pytest.raises(UserError, match='comp5'):
        VOCServer(name='server', split='val', competition='comp7')
