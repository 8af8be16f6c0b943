import gc
import json
import sys

import pytest

from mmwsss.apis import runner
from mmwsss.apis.runner import RunResult
from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def tool(load_tool, repo_root, generated_root, tiny_cam_options, tmp_path, monkeypatch, capsys):
    """Runs the tool, with trainings and tests that do nothing, in this process: (exit code, stdout, stderr)."""
    module = load_tool('run_study.py')
    (tmp_path / 'study.py').write_text(f'''
configs = dict(cam='{repo_root}/configs/cam/cam_efflite0_small.py')
seeds = (0, 1)
cfg_options = {tiny_cam_options}
rows = [dict(name='baseline', config='cam'), dict(name='wide', config='cam', cfg_options={{'num_threads': 1}})]
''')
    done = []

    def train(cfg, work_dir, **_):
        done.append((work_dir.parts[-3], cfg.randomness.seed))
        work_dir.mkdir(parents=True)
        (work_dir / 'epoch_2.pth').write_text(str(done))
        return RunResult(work_dir / 'epoch_2.pth', skipped=[('a.jpg', 'broken')] if cfg.randomness.seed else [])

    def test(cfg, checkpoint, work_dir, launcher):
        work_dir.mkdir(parents=True)
        (work_dir / 'report.json').write_text(json.dumps(dict(
            mIoU=0.4, threshold=0.2, m_FN=1.0, m_FP=0.5, precision=0.5, recall=0.5, curve=[], num_images=12,
            class_filter='label')))
        return RunResult(checkpoint)

    monkeypatch.setattr(gc, 'collect', lambda: 0)  # takes half a second in the suite's process
    monkeypatch.setattr(runner, 'train', train)
    monkeypatch.setattr(runner, 'test', test)

    def run(*arguments):
        done.clear()
        monkeypatch.setattr(sys, 'argv', ['run_study.py', str(tmp_path / 'study.py'), '--data-root',
                                          str(generated_root), '--work-dir', str(tmp_path / 'work'), *arguments])
        with pytest.raises(SystemExit) as stop:
            run_cli(module.main)
        return stop.value.code, *capsys.readouterr(), list(done)
    return run


def test_rows_and_seeds_are_chosen_and_the_rest_follows(tool, tmp_path):
    code, out, _, done = tool('--rows', 'wide', '--seeds', '0')
    assert code == 0 and done == [('wide', 0)]
    assert '1 of 2' in out and '40.00' in out and 'oracle' in out and str(tmp_path / 'work/results.md') in out
    code, out, err, done = tool()
    assert code == 3 and done == [('baseline', 0), ('baseline', 1), ('wide', 1)]
    assert 'done, but files were left out' in out and 'row wide, seed 1: 1 files left out, e.g. a.jpg: broken' in err
    assert (tmp_path / 'work/results.md').read_text() in out
    code, again, _, done = tool('--report-only')
    assert code == 0 and done == [] and again.splitlines()[:8] == out.splitlines()[:8]
    _, out, _, _ = tool('--report-only', '--cfg-options', 'cfg_options.train_cfg.max_epochs=7')
    assert out.count('0 of 2') == 2, 'results of other settings are none of this study'


@pytest.mark.parametrize(('arguments', 'word'), [
    (['--report-only'], 'no such folder, so there is nothing to report'),
    (['--weights', 'nothing.pth'], 'no such file of weights'), (['--cfg-options', 'num_imags=3'], "'num_images'")])
def test_mistakes_end_in_one_line(tool, arguments, word):
    code, _, err, done = tool(*arguments)
    assert code == 1 and done == [] and word in err and len(err.splitlines()) == 1
