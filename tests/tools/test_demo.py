import sys

import pytest


@pytest.fixture
def demo(load_tool, repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / 'tools'))
    return load_tool('demo.py')


@pytest.fixture
def calls(demo, monkeypatch):
    """What the demo would run and generate."""
    calls = []
    monkeypatch.setattr(demo, 'run', lambda *args: calls.append(args) or 0)
    monkeypatch.setattr(demo, 'generate_voc_layout', lambda root, **kwargs: calls.append((root, kwargs)))
    return calls


def run_demo(demo, monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    return demo.main()


def test_generates_its_data_when_none_is_given(demo, calls, monkeypatch, tmp_path):
    assert run_demo(demo, monkeypatch, '--work-dir', str(tmp_path)) == 0
    (root, options), (pipeline, data_root, work_dir, weights) = calls
    assert root == data_root == str(tmp_path / 'data') and options['num_train'] == 400
    assert pipeline.endswith('cam_generated.py') and work_dir == str(tmp_path)
    assert weights is None


def test_real_data_and_weights(demo, calls, monkeypatch):
    run_demo(demo, monkeypatch, '--data-root', 'photos')
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth')
    assert [call[0].rsplit('/', 1)[-1] for call in calls] == ['cam_small.py', 'cam_r50_small.py']
    assert calls[1][3] == 'r50.pth'


def test_pipeline_without_crf_needs_none(demo, repo_root):
    from mmengine.config import Config
    config = Config.fromfile(repo_root / 'configs/pipelines/cam_small_without_crf.py')
    assert 'DenseCRF' not in str(config.stages) and config.configs
