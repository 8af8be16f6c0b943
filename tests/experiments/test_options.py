import pytest

from mmwsss.experiments.options import flat_options, hint_text, join_options, naming, owner_of, take_options
from mmwsss.utils.errors import UserError


class Parsed(dict):
    """Options of a command line, which keep what was written."""

    def __init__(self, **values):
        super().__init__({key.replace('__', '.'): value for key, value in values.items()})
        self.texts = {key: f'text of {value}' for key, value in self.items()}


def test_nested_settings_get_dotted_keys():
    assert flat_options({'a.b': 1, 'a': {'b': 2, 'c': {'d': 3}}, 'e': {}, 'f': [{'g': 4}]}) == {
        'a.b': 2, 'a.c.d': 3, 'e': {}, 'f': [{'g': 4}]}


def test_settings_are_dealt_out_with_their_texts():
    taken, others = take_options(Parsed(cam__x=1, cam__y__z=2, camera__x=3, cam=4), 'cam')
    assert taken == {'x': 1, 'y.z': 2} and others == {'camera.x': 3, 'cam': 4}
    assert taken.texts == {'x': 'text of 1', 'y.z': 'text of 2'} and set(others.texts) == set(others)
    assert take_options(None, 'cam') == ({}, {}) and take_options({'cam.x': 1}, 'cam') == ({'x': 1}, {})


def test_later_settings_count_and_bring_their_texts():
    joined = join_options({'x': 1, 'y': 2}, Parsed(x=3))
    assert joined == {'x': 3, 'y': 2} and joined.texts == {'x': 'text of 3'}
    joined = join_options(Parsed(x=3), {'x': 1})
    assert joined == {'x': 1} and joined.texts == {}
    assert join_options(None, None) == {}


def test_a_key_belongs_to_the_longest_name():
    assert owner_of('cam.a.b', ['cam', 'cam.a', 'came']) == 'cam.a'
    assert owner_of('camera.x', ['cam']) is None and owner_of('cam', ['cam']) is None


@pytest.mark.parametrize(('message', 'hint'), [
    ('give --cfg-options train_dataloader.batch_size=8 or less',
     'give --cfg-options cfg_options.cam.train_dataloader.batch_size=8 or less'),
    ('--cfg-options nope.x: there is no setting', '--cfg-options cfg_options.cam.nope.x: there is no setting'),
    ('--cfg-options nope=3: is', '--cfg-options cfg_options.cam.nope=3: is'),
    ('give --cfg-options model.a.type=A model.b=FILE, or train all with model.c=0',
     'give --cfg-options cfg_options.cam.model.a.type=A cfg_options.cam.model.b=FILE, or train all with '
     'cfg_options.cam.model.c=0'),
    ('set default_hooks.checkpoint.interval', 'set cfg_options.cam.default_hooks.checkpoint.interval'),
    ('/data/model.pth: no file', '/data/model.pth: no file'), ('model: no weights', 'model: no weights'),
    ('--cfg-options cfg_options.cam.x=1', '--cfg-options cfg_options.cam.x=1'),
    ('a-model.x, "model.pth"', 'a-model.x, "model.pth"')])
def test_hints_name_options_as_the_command_takes_them(message, hint):
    assert hint_text(message, 'cam') == hint


def test_errors_name_the_stage():
    with pytest.raises(UserError) as caught, naming('stage label', None, {'skip it': 'skip=1'}):
        raise UserError('a.jpg: broken;\nskip it, or train_cfg.max_epochs=1')
    assert str(caught.value) == 'stage label: a.jpg: broken; skip=1, or cfg_options.train_cfg.max_epochs=1'
    with pytest.raises(KeyError), naming('stage label'):
        raise KeyError('a defect')
