import pytest

from mmwsss.experiments.pipeline.stage_order import ordered_stages
from mmwsss.utils.errors import UserError


@pytest.mark.parametrize(('stages', 'order'), [
    (dict(b={}, a={}, c={}), 'bac'), (dict(a={}, b=None, c={}), 'ac'),
    (dict(a={}, b={}, x=dict(after='a')), 'axb'), (dict(a={}, b={}, x=dict(before='a')), 'xab'),
    (dict(a={}, b={}, x=dict(after='a'), y=dict(after='a')), 'axyb'),
    (dict(a={}, b={}, x=dict(after='a'), y=dict(after='x'), z=dict(after='a')), 'axyzb'),
    (dict(a={}, b={}, x=dict(before='b'), y=dict(before='b')), 'axyb'),
    (dict(a={}, x=dict(after='y'), b={}, y=dict(after='a')), 'ayxb'),
    (dict(a={}, b=dict(before='a'), c={}), 'bac'), (dict(a=dict(after='c'), b={}, c={}), 'bca')])
def test_stages_stand_where_they_are_put(stages, order):
    given = {name: stage and dict(stage, type='t') for name, stage in stages.items()}
    given = {name: dict(type='t') if stage == {} else stage for name, stage in given.items()}
    found = ordered_stages(given, 'pipeline.py')
    assert ''.join(found) == order and all(stage == dict(type='t') for stage in found.values())


@pytest.mark.parametrize(('stages', 'word'), [
    ([dict(name='a', type='train')], r'a dict by their names, no list.*write stages = dict\('),
    (None, 'has no stages'), ({}, 'has no stages'), (dict(a=None), 'has no stages'), ([], 'has no stages'),
    (3, 'must be a dict of dicts'), (dict(a=3), 'must be a dict of dicts'),
    (dict(a={}, b=dict(after='c')), "pipeline.py: stage b: after='c', which is no other stage"),
    (dict(a={}, b=dict(after='b')), 'no other stage'),
    (dict(a=None, b=dict(before='a'), c={}), "before='a', which is no"),
    (dict(a={}, b=dict(after='a', before='a')), 'after or before, not both'),
    (dict(a={}, b=dict(after='c'), c=dict(after='b')), 'stages b, c are each to stand next to another')])
def test_places_that_are_none(stages, word):
    with pytest.raises(UserError, match=word):
        ordered_stages(stages, 'pipeline.py')
