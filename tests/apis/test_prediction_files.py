import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from mmwsss.apis.prediction_files import PredictionFiles
from mmwsss.apis.predictions import SegPrediction
from mmwsss.utils.errors import UserError


def prediction(name='a.jpg'):
    return SegPrediction(Path(name), np.zeros((8, 8), np.uint8), ('cat',), pixels=np.zeros((8, 8, 3), np.uint8))


def test_accents_are_composed(tmp_path):
    files = PredictionFiles(tmp_path, ('cat',))
    composed = 'm\u00e4dchen'
    list(files.write_all(iter([prediction(unicodedata.normalize('NFD', composed) + '.jpg'), prediction('b.c.png')])))
    assert {path.name for path in (tmp_path / 'labels').iterdir()} == {f'{composed}.png', 'b.c.png'}
    assert [image['label'] for image in files.images] == [f'labels/{composed}.png', 'labels/b.c.png']


def test_an_interrupted_call_is_known_as_its_own(tmp_path):
    files = PredictionFiles(tmp_path / 'out', ('cat',))
    files.write(prediction())
    assert json.loads((tmp_path / 'out/predictions.json').read_text()) == dict(classes=['cat'], images=[])
    again = PredictionFiles(tmp_path / 'out', ('cat',))
    again.write(prediction())
    again.write_index()
    assert len(json.loads((tmp_path / 'out/predictions.json').read_text())['images']) == 1


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('labels/b.png', '', 'labels/b.png: is there, but no predictions.json'),
    ('overlays/b.png', '', 'overlays/b.png: is there'), ('predictions.json', '[]', 'is no list of predictions'),
    ('predictions.json', '{', 'is no list of predictions'), ('../out', '', 'is a file')])
def test_other_files_are_not_replaced(tmp_path, name, text, message):
    (tmp_path / 'new').mkdir()
    path = (tmp_path / 'new' / name).resolve()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        PredictionFiles(tmp_path / 'out' if path.name == 'out' else tmp_path / 'new', ('cat',))


def test_folders_of_images_are_no_place(tmp_path):
    (tmp_path / 'photographs').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'photographs')
    for out in ('photographs', 'photographs/new', 'link/new'):
        with pytest.raises(UserError, match='would be taken for images'):
            PredictionFiles(tmp_path / out, ()).check_sources([tmp_path / 'photographs'])
    PredictionFiles(tmp_path / 'photographs new', ()).check_sources([tmp_path / 'photographs'])
    PredictionFiles(tmp_path / 'photographs', ()).check_sources([tmp_path / 'photographs/a.jpg'])  # one that is named
