"""A stage of a downstream project: registered in a module of its own, named in custom_imports."""
import json
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from mmwsss.experiments.comparison.measures import Measure, measures_of
from mmwsss.experiments.pipeline import Pipeline, run_pipeline
from mmwsss.experiments.pipeline import pipeline as pipeline_module
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.registry import STAGES
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError

MODULE = '''
from dataclasses import dataclass

from mmwsss.experiments.pipeline import FILES, Stage, StageResult
from mmwsss.registry import STAGES


@STAGES.register_module('write_names')
@dataclass(kw_only=True)
class WriteNames(Stage):
    """Writes a file for every image but one."""
    split: str
    without: str

    def run(self, context):
        (context.folder / 'names').mkdir(exist_ok=True)
        for stem in context.data.stems(self.split):
            if stem != self.without:
                (context.folder / 'names' / f'{stem}.txt').write_text(stem)
        return StageResult('names', skipped=[(f'{self.without}.jpg', 'not wanted')])


@STAGES.register_module('count_names')
@dataclass(kw_only=True)
class CountNames(Stage):
    """Counts the files that it should find."""
    INPUTS = dict(names=FILES)
    REQUIRED = ('names',)
    EVALUATES = True
    split: str
    factor: float = 1

    def run(self, context):
        stems = context.remaining_stems(self.split)
        names = [name for name in stems if open(f'{context.inputs["names"]}/{name}.txt').read() == name]
        (context.folder / 'list.txt').write_text(' '.join(names))
        return StageResult('list.txt', [dict(metric='names', value=self.factor * len(names),
                                             note=context.remark(self.split))])
'''
CONFIG = '''
custom_imports = dict(imports=['own_stages_of_a_project'])
stages = dict(
    z_names=dict(type='write_names', split='train', without='train_00002', role='names'),
    count=dict(type='count_names', split='train', inputs=dict(names='z_names')))
'''


@pytest.fixture
def config(tmp_path, monkeypatch):
    (tmp_path / 'own_stages_of_a_project.py').write_text(MODULE)
    (tmp_path / 'pipeline.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / 'pipeline.py'
    sys.modules.pop('own_stages_of_a_project', None)
    for name in ('write_names', 'count_names'):
        STAGES.module_dict.pop(name, None)


def test_it_runs_and_its_gaps_are_handed_on(config, generated_root, tmp_path):
    work = tmp_path / 'work'
    pipeline = Pipeline(config, generated_root, work)
    assert pipeline.run() == EXIT_SKIPPED
    marker = json.loads((work / 'count/complete.json').read_text())
    assert marker['metrics'] == [dict(metric='names', value=11, note='train, without 1 images left out before')]
    assert (marker['type'], marker['role'], marker['skipped'], marker['runs']) == ('count_names', 'names', [], 1)
    assert 'train_00002' not in (work / 'count/list.txt').read_text()
    report = json.loads((work / 'report.json').read_text())
    assert [row['stage'] for row in report['rows']] == ['z_names', 'count']
    assert 'pipeline on' in (work / 'report.md').read_text()


def test_what_a_pipeline_writes_can_be_read(config, generated_root, tmp_path):
    Pipeline(config, generated_root, tmp_path / 'work').run()
    content = WorkDir(tmp_path / 'work').read()
    assert content.finished and content.planned and list(content.stages) == ['z_names', 'count']
    assert measures_of(content.stages['count']) == {Measure('names', '', 'train', False): 11}
    assert content.stages['z_names'].skipped == [('train_00002.jpg', 'not wanted')]


def test_what_was_computed_is_written_before_it_is_printed(config, generated_root, tmp_path, monkeypatch, capsys):
    assert run_pipeline(config, generated_root, tmp_path / 'whole') == EXIT_SKIPPED
    out = capsys.readouterr().out
    assert 'z_names' in out and 'report.md' in out and 'done, but files were left out' in out

    def fail(*args, **kwargs):
        raise ValueError('the terminal is gone')

    monkeypatch.setattr(Console, 'print', fail)
    monkeypatch.setattr(pipeline_module, 'Console', lambda **_: SimpleNamespace(print=lambda *args, **kwargs: None))
    with pytest.raises(ValueError, match='the terminal is gone'):
        run_pipeline(config, generated_root, tmp_path / 'work')
    content = WorkDir(tmp_path / 'work').read()
    assert content.finished and (tmp_path / 'work/report.md').is_file()


def test_its_options_are_in_its_key(config, generated_root, tmp_path):
    def reused(**options):
        pipeline = Pipeline(config, generated_root, tmp_path / 'work',
                            cfg_options={f'stages.{key}': value for key, value in options.items()})
        pipeline.run()
        return [row['reused'] for row in pipeline.rows]

    assert reused() == [False, False] and reused() == [True, True]
    assert reused(**{'count.factor': 2}) == [True, False]
    assert reused(**{'count.factor': 2, 'z_names.without': 'train_00003'}) == [False, False]
    with pytest.raises(UserError, match=r"stage count: has no option 'facto'.*closest: 'factor'"):
        reused(**{'count.facto': 2})


def test_a_stage_that_fails_is_named_and_timed(config, generated_root, tmp_path, monkeypatch):
    pipeline = Pipeline(config, generated_root, tmp_path / 'work')

    def fail(context):
        raise UserError('no more paper')

    monkeypatch.setattr(pipeline.stages['count'], 'run', fail)
    with pytest.raises(UserError, match=r'^stage count: no more paper$'):
        pipeline.run()
    content = WorkDir(tmp_path / 'work').read()
    assert not content.finished and [stage.complete for stage in content.stages.values()] == [True, False]
    state = json.loads((tmp_path / 'work/count/key.json').read_text())
    assert state['runs'] == 1 and state['seconds'] > 0 and state['started'] is None
    assert Pipeline(config, generated_root, tmp_path / 'work').run() != EXIT_DONE
    assert WorkDir(tmp_path / 'work').read().stages['count'].runs == 2


def test_every_process_writes_the_list_of_what_remains(stage_context, generated_root, tmp_path, monkeypatch):
    """The second one reads it at once, whether or not the main one has come so far."""
    stems = stage_context(generated_root).data.stems('val')
    context = stage_context(generated_root, folder=tmp_path / 'stage', left_out={stems[0]})
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    assert context.data.stems(context.remaining('val')) == list(stems[1:])
    assert context.remaining('train') == 'train'
