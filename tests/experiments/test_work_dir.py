import json
import os
import shutil
from types import SimpleNamespace

import pytest

from mmwsss.experiments import work_dir
from mmwsss.experiments.comparison.measures import Measure, measures_of, unmeasured_of
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.utils.errors import UserError

EVAL = dict(metrics=[dict(metric='mIoU', value=40.25, unit='%', note='train, threshold 0.46', oracle=True)])


def test_a_finished_folder_is_read(make_work_dir, tmp_path):
    path = make_work_dir(tmp_path / 'work', {'z_train': dict(seconds=61.5, output='epoch_5.pth'), 'eval': EVAL,
                                             'a_last': dict(skipped=[['a.jpg', 'broken']])})
    shutil.copytree(path / 'eval', path / 'eval.old')
    (path / 'data').mkdir()
    work = WorkDir(path).read()
    assert list(work.stages) == ['z_train', 'eval', 'a_last'] and work.finished and not work.rerun
    train, evaluation, last = work.stages.values()
    assert train.complete and train.seconds == 61.5 and train.output == path / 'z_train/epoch_5.pth'
    assert measures_of(train) == {} and train.report == {}
    assert measures_of(evaluation) == {Measure('mIoU', '%', 'train', True): 40.25} and not unmeasured_of(evaluation)
    assert last.skipped == [('a.jpg', 'broken')]


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


MARKER = '{{"seconds": {}, "output": "x", "metrics": {}, "skipped": {}}}'


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
        _ = WorkDir(path).read().stages['eval'].per_class
    (path / 'report.json').write_text(text)
    with pytest.raises(UserError, match=r'report\.json: damaged'):
        WorkDir(path).read()


def test_times_of_all_runs_are_added(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=1e9)
    monkeypatch.setattr(work_dir.time, 'time', lambda: clock.now)
    monkeypatch.setattr(work_dir.time, 'monotonic', lambda: clock.now)

    def touch(path):  # what is written now
        path.touch()
        os.utime(path, (clock.now, clock.now))

    def open_stage():
        work = WorkDir(tmp_path)
        folder = work.open_stage('train', 'k', 'train', 'CAM')
        touch(folder / 'key.json')
        return work, folder

    work, folder = open_stage()
    clock.now += 10
    work.pause_stage('train')  # Ctrl-C after 10 s
    clock.now += 1000
    _, folder = open_stage()
    clock.now += 20
    touch(folder / 'epoch_1.pth')
    clock.now += 500  # killed some time after it has written its last file
    work, folder = open_stage()
    clock.now += 3
    (folder / 'epoch_2.pth').touch()
    state = work.complete_stage('train', 'epoch_2.pth')
    assert state.seconds == 33 and state.runs == 3 and (state.kind, state.role) == ('train', 'CAM')
    assert WorkDir(tmp_path).completed('train', 'k').seconds == 33


def test_times_of_a_copy_do_not_count(tmp_path):
    folder = WorkDir(tmp_path).open_stage('train', 'k')
    os.utime(folder / 'key.json', (1, 1))
    (folder / 'epoch_1.pth').touch()
    work = WorkDir(tmp_path)
    work.open_stage('train', 'k')
    assert work.complete_stage('train', 'epoch_1.pth').seconds < 1


def test_another_key_starts_anew_and_keeps_the_old_folder(tmp_path):
    work = WorkDir(tmp_path)
    (work.open_stage('eval', 'a') / 'metrics.json').write_text('{}')
    work.complete_stage('eval', 'metrics.json')
    assert work.completed('eval', 'a').output == tmp_path / 'eval/metrics.json' and work.completed('eval', 'b') is None
    assert work.completed('eval', 'a', ['labels']) is None
    folder = work.open_stage('eval', 'b')
    assert [path.name for path in folder.iterdir()] == ['key.json']
    assert (tmp_path / 'eval.old/complete.json').is_file() and work.completed('eval', 'a') is None


def test_a_stage_that_another_run_has_begun_anew_is_not_completed(tmp_path):
    """Where a file system has no locks, two runs may be at work in one folder."""
    first, second = WorkDir(tmp_path), WorkDir(tmp_path)
    first.open_stage('train', 'a')
    second.open_stage('train', 'b')
    with pytest.raises(UserError, match=r'train: another run has begun this stage anew; .*another --work-dir'):
        first.complete_stage('train', 'epoch_1.pth')
    assert not (tmp_path / 'train/complete.json').exists()
    before = (tmp_path / 'train/key.json').read_text()
    first.pause_stage('train')
    assert (tmp_path / 'train/key.json').read_text() == before
    second.complete_stage('train', '.')
    assert second.completed('train', 'b') and not second.completed('train', 'a')


def test_the_key_of_a_stage_is_the_one_it_was_opened_with(tmp_path):
    work = WorkDir(tmp_path)
    folder = work.open_stage('train', 'a', 'train', 'CAM')
    (folder / 'key.json').unlink()
    state = work.complete_stage('train', '.')
    assert work.completed('train', 'a') == state and (state.kind, state.role, state.runs) == ('train', 'CAM', 1)


def test_the_plan_tells_what_a_pipeline_has(make_work_dir, tmp_path):
    plan = dict(train=('train', 'CAM'), eval=('eval_cam', 'CAM'), last=('picture', None))
    path = make_work_dir(tmp_path / 'work', {'other': {}, 'eval': EVAL, 'train': {}}, report=False, plan=plan)
    content = WorkDir(path).read()
    assert list(content.stages) == list(plan) and content.planned and not content.finished
    assert [stage.complete for stage in content.stages.values()] == [True, True, False]
    assert content.stages['last'].kind == 'picture' and content.stages['eval'].role == 'CAM'
    for text in ('{', '{}', '{"stages": [{}]}', '{"stages": [{"name": "a", "type": 1}]}'):
        (path / 'stages.json').write_text(text)
        with pytest.raises(UserError, match=r'stages\.json: damaged'):
            WorkDir(path).read()


def test_a_plan_that_has_grown_is_not_finished(make_work_dir, tmp_path):
    plan = dict(train=('train', 'CAM'), eval=('eval_cam', 'CAM'))
    path = make_work_dir(tmp_path / 'work', {'train': {}, 'eval': EVAL}, plan=plan)
    assert WorkDir(path).read().finished
    WorkDir(path).begin([dict(name=name, type='train', role=None) for name in ('train', 'eval', 'more')])
    content = WorkDir(path).read()
    assert content.rerun and not content.finished and not content.stages['more'].complete


def test_a_folder_of_an_earlier_version(tmp_path):
    """As its files were written, letter by letter."""
    for name, output, metrics in (
            ('cam', 'cam', '[]'),
            ('eval_cam', 'metrics.json', '[{"metric": "mIoU", "note": "train, threshold 0.23", "oracle": true, '
                                         '"unit": "%", "value": 47.25}]')):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'key.json').write_text('{\n  "key": "abc"\n}\n')
        (tmp_path / name / 'complete.json').write_text(
            f'{{"key": "abc", "metrics": {metrics}, "skipped": [], "output": "{output}", "seconds": 12.5}}')
    row = dict(metric='', note=None, oracle=False, reused=False, unit=None, value=None)
    (tmp_path / 'report.json').write_text(json.dumps(dict(seconds=25.0, rows=[
        dict(row, stage='cam', seconds=12.5), dict(row, stage='eval_cam', seconds=12.5, metric='mIoU', value=47.25)])))
    content = WorkDir(tmp_path).read()
    assert content.finished and not content.planned and not content.rerun
    assert list(content.stages) == ['cam', 'eval_cam']
    evaluation = content.stages['eval_cam']
    assert (evaluation.seconds, evaluation.runs, evaluation.kind, evaluation.role) == (12.5, None, None, None)
    assert measures_of(evaluation) == {Measure('mIoU', '%', 'train', True): 47.25}
    (tmp_path / 'eval_cam/metrics.json').write_text('{}')
    assert WorkDir(tmp_path).completed('eval_cam', 'abc').seconds == 12.5
    folder = WorkDir(tmp_path).open_stage('eval_cam', 'abc')
    assert (folder / 'metrics.json').exists(), 'one that was interrupted goes on'


@pytest.mark.parametrize('work', ['work', '{}/work'])
@pytest.mark.parametrize('output', ['a.pth', 'work/train/a.pth', '{}/work/train/a.pth'])
def test_outputs_lie_in_the_folder_of_the_stage(tmp_path, monkeypatch, work, output):
    monkeypatch.chdir(tmp_path)
    work = WorkDir(work.format(tmp_path))
    (work.open_stage('train', 'k') / 'a.pth').touch()
    work.complete_stage('train', output.format(tmp_path))
    assert json.loads((tmp_path / 'work/train/complete.json').read_text())['output'] == 'a.pth'
    assert work.completed('train', 'k').output.samefile(tmp_path / 'work/train/a.pth')
    work.open_stage('train', 'k')
    with pytest.raises(ValueError, match='must lie in its folder'):
        work.complete_stage('train', tmp_path / 'elsewhere.pth')
