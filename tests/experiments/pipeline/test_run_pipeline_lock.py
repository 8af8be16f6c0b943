import pytest

from mmwsss.experiments.pipeline import run_pipeline
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.work_dir import WorkDir
from mmwsss.utils.errors import EXIT_DONE, UserError


def test_a_refused_run_leaves_the_log_alone(tiny_pipeline, generated_root, tmp_path, capsys):
    with WorkDir(tmp_path).lock.held(), pytest.raises(UserError, match='is at work there'):
        run_pipeline(tiny_pipeline, generated_root, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['run.lock'] and capsys.readouterr().err == ''


def test_the_page_is_written_while_no_other_run_may_begin(tiny_pipeline, generated_root, tmp_path, monkeypatch):
    def write_report(folders):
        with pytest.raises(UserError, match='is at work there'), WorkDir(folders[0]).lock.held():
            pass
        return 'report.html'

    monkeypatch.setattr(Pipeline, 'run', lambda self: EXIT_DONE)
    monkeypatch.setitem(run_pipeline.__globals__, 'write_report', write_report)
    assert run_pipeline(tiny_pipeline, generated_root, tmp_path) == EXIT_DONE
    with WorkDir(tmp_path).lock.held():
        pass
