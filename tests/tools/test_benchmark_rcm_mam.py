import json

import pytest

from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def benchmark(load_tool):
    return load_tool('benchmark/rcm_mam.py')


@pytest.fixture
def config(repo_root, tmp_path):
    base = repo_root / 'configs/rcm_mam/rcm_mam_efflite0_small.py'
    (tmp_path / 'small.py').write_text(f'_base_ = {str(base)!r}\nmodel = dict(data_preprocessor=dict(size=(32, 32)))\n')
    return str(tmp_path / 'small.py')


def test_every_variant_is_timed_in_parts(benchmark, config, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    variants = ['baseline', 'RCM, weight sharing', 'RCM + MAM']
    assert benchmark.main([config, '--variants', *variants, '--batch-size', '2', '--classes', '3', '--rounds', '1',
                           '--stride', '4', '--out', str(out)]) == 0
    assert 'stride 4' in capsys.readouterr().out
    report = json.loads(out.read_text())
    figures = report['figures']
    assert report['stride'] == 4 and set(figures) == set(variants) and figures['baseline']['ratio'] == 1
    common = {'MainNet, forward', 'backward', 'optimizer', "SupportNet's update", 'the rest'}
    modules = dict(zip(variants, (set(), {'RCM, forward'},
                                  {'RCM, forward', 'MAM, forward', 'SupportNet, forward'})))
    for name, figure in figures.items():
        assert set(figure['parts']) == common | modules[name]
        assert all(seconds > 0 for seconds in figure['parts'].values())


@pytest.mark.parametrize('options, message', [
    (['--rounds', '0'], '--rounds'), (['--stride', '-1'], '--stride'), (['--device', 'cuda:99'], 'cuda:99')])
def test_mistakes_end_in_one_line(benchmark, config, options, message, capsys, monkeypatch):
    monkeypatch.setattr(benchmark.torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit) as caught:
        run_cli(lambda: benchmark.main([config, *options]))
    err = capsys.readouterr().err
    assert caught.value.code == 1 and err.count('\n') == 1 and message in err


def test_another_model_is_refused(benchmark, repo_root, capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(lambda: benchmark.main([str(repo_root / 'configs/cam/cam_efflite0_small.py')]))
    assert caught.value.code == 1 and 'no PixelSelfSupervision' in capsys.readouterr().err
