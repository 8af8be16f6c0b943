import shutil

import pytest

from mmwsss.experiments.comparison.measures import Measure, measures_of, unmeasured_of
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.utils.errors import UserError

EVAL = dict(metrics=[dict(metric='mIoU', value=40.25, unit='%', note='train, threshold 0.46', oracle=True)])


def test_a_finished_folder_is_read(make_work_dir, tmp_path):
    path = make_work_dir(tmp_path / 'work', {'z_train': dict(seconds=61.5, output='epoch_5.pth'), 'eval': EVAL,
                                             'a_last': dict(omissions=[['a.jpg', 'broken']])})
    shutil.copytree(path / 'eval', path / 'eval.old')
    (path / 'data').mkdir()
    work = WorkDir(path).read()
    assert list(work.stages) == ['z_train', 'eval', 'a_last'] and work.finished and not work.rerun
    train, evaluation, last = work.stages.values()
    assert train.complete and train.seconds == 61.5 and train.output == path / 'z_train/epoch_5.pth'
    assert measures_of(train) == {} and train.report == {}
    assert measures_of(evaluation) == {Measure('mIoU', '%', 'train', True): 40.25} and not unmeasured_of(evaluation)
    assert last.omissions == [('a.jpg', 'broken')]


def test_a_name_may_hold_a_slash(make_work_dir, tmp_path):
    work = WorkDir(make_work_dir(tmp_path / 'work', {'train': {}, 'eval/val': EVAL})).read()
    assert list(work.stages) == ['train', 'eval/val'] and work.finished and work.stages['eval/val'].complete


def test_figures_of_one_name_are_kept_apart(make_work_dir, tmp_path):
    rows = [dict(metric='mIoU', value=1., unit='%', note='train'), dict(metric='mIoU', value=2., unit='%', note='val'),
            dict(metric='mIoU', value=3., unit='%', note='val'), dict(metric='size', value=4, unit=None),
            dict(metric='loss', value=float('nan'), unit='', note='diverged'), dict(metric='mIoU', value=None)]
    stage = WorkDir(make_work_dir(tmp_path / 'work', {'eval': dict(metrics=rows)})).read().stages['eval']
    assert measures_of(stage) == {
        Measure('mIoU', '%', 'train', False): 1, Measure('mIoU', '%', 'val', False): 2,
        Measure('mIoU', '%', 'val', False, 1): 3, Measure('size', '', '', False): 4}
    reasons = {measure.metric: reason for measure, reason in unmeasured_of(stage).items()}
    assert reasons == {'loss': 'diverged', 'mIoU': ''}


def test_an_unfinished_folder_is_ordered_by_time(make_work_dir, tmp_path):
    work = WorkDir(make_work_dir(tmp_path / 'work', {'z': {}, 'b': EVAL, 'a': None}, report=False)).read()
    assert [(name, stage.complete) for name, stage in work.stages.items()] == [('z', True), ('b', True), ('a', False)]
    assert not work.finished and not work.rerun
    assert work.stages['a'].report == {}


@pytest.mark.parametrize('change', ['other value', 'other time', 'begun again', 'new stage', 'deleted'])
def test_what_happened_after_the_report(make_work_dir, tmp_path, change):
    path = make_work_dir(tmp_path / 'work', {'train': {}, 'eval': EVAL, 'picture': {}})
    again = {'other value': {'eval': dict(metrics=[dict(EVAL['metrics'][0], value=41)])}, 'begun again': {'eval': None},
             'other time': {'eval': dict(EVAL, seconds=9)}, 'new stage': {'new': {}}, 'deleted': {}}[change]
    if change != 'new stage':
        shutil.rmtree(path / 'eval')
    make_work_dir(path, again, report=False)
    work = WorkDir(path).read()
    assert (work.rerun, work.finished) == ((False, True) if change == 'deleted' else (True, False))
    assert list(work.stages)[:3] == ['train', 'eval', 'picture']
    assert work.stages['eval'].complete == (change not in ('begun again', 'deleted'))


def test_folders_of_something_else(make_work_dir, tmp_path):
    path = make_work_dir(tmp_path / 'work', {'eval': EVAL})
    (tmp_path / 'study/base/seed0').mkdir(parents=True)
    (tmp_path / 'reported').mkdir()
    (tmp_path / 'reported/results.json').write_text('{"study": "a.py"}')
    for folder, word in ((path / 'eval', 'is a single stage'), (tmp_path / 'study', 'belongs to a study'),
                         (tmp_path / 'reported', 'belongs to a study'), (tmp_path, 'no work folder of a pipeline'),
                         (tmp_path / 'nowhere', 'no such folder'), (path / 'report.json', 'no such folder')):
        with pytest.raises(UserError, match=word) as caught:
            WorkDir(folder).read()
        assert str(folder) in str(caught.value)


MARKER = '{{"seconds": {}, "output": "x", "metrics": {}, "omissions": {}}}'


@pytest.mark.parametrize('text', [
    '', '{', '[]', '{}', '\xff', MARKER.format('"1"', '[]', '[]'), MARKER.format('NaN', '[]', '[]'),
    MARKER.format(1, '{}', '[]'), MARKER.format(1, '[1]', '[]'), MARKER.format(1, '[{"value": 1}]', '[]'),
    MARKER.format(1, '[{"metric": "a", "value": "1"}]', '[]'), MARKER.format(1, '[]', '[["a"]]'),
    MARKER.format(1, '[]', '["ab"]'), MARKER.format(1, '[{"metric": "a", "unit": 1}]', '[]')])
def test_damaged_markers_are_named(make_work_dir, tmp_path, text):
    path = make_work_dir(tmp_path / 'work', {'eval': EVAL})
    file = path / 'eval/complete.json'
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match='damaged') as caught:
        WorkDir(path).read()
    assert str(file) in str(caught.value)


@pytest.mark.parametrize('text', ['{', '{"rows": 1}', '{"rows": [1]}', '{"rows": [{"metric": "a"}]}'])
def test_damaged_reports_are_named(make_work_dir, tmp_path, text):
    path = make_work_dir(tmp_path / 'work', {'eval': dict(EVAL, metrics_json=dict(per_class=dict(cat='a')))})
    with pytest.raises(UserError, match=r'eval/metrics\.json: damaged'):
        WorkDir(path).read().stages['eval'].per_class
    (path / 'report.json').write_text(text)
    with pytest.raises(UserError, match=r'report\.json: damaged'):
        WorkDir(path).read()


def test_what_a_pipeline_writes_can_be_read(generated_root, tmp_path, monkeypatch):
    def measure(folder, pipeline, split, value=None):
        rows = [] if value is None else [dict(metric='mIoU', value=value, unit='%', note=split, oracle=True)]
        return StageResult(str(folder / 'key.json'), rows, [('a.jpg', 'broken')])

    monkeypatch.setattr('mmwsss.experiments.pipeline.stages.STAGES', dict(measure=measure))
    config = tmp_path / 'pipeline.py'
    config.write_text("stages = [dict(name='z', type='measure', split='train'),\n"
                      "          dict(name='a', type='measure', split='val', value=12.5)]\n")
    pipeline = Pipeline(config, generated_root, tmp_path / 'work')
    pipeline.run()
    assert not WorkDir(tmp_path / 'work').read().finished
    write_json(tmp_path / 'work/report.json', results_json(pipeline.rows))
    work = WorkDir(tmp_path / 'work').read()
    assert work.finished and list(work.stages) == ['z', 'a']
    assert measures_of(work.stages['a']) == {Measure('mIoU', '%', 'val', True): 12.5}
    assert work.stages['z'].omissions == [('a.jpg', 'broken')]
