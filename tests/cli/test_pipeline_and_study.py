"""What ``mmwsss pipeline`` and ``mmwsss study`` hand on."""
import pytest

from mmwsss.cli.main import main


@pytest.mark.parametrize(('command', 'config', 'target'), [
    ('pipeline', 'cam_small', 'mmwsss.experiments.pipeline.run_pipeline'),
    ('study', 'seam_r50_small', 'mmwsss.experiments.study.run_study.run_study')])
def test_auto_scale_lr_is_for_all_trainings(command, config, target, generated_root, tmp_path, monkeypatch, capsys):
    import importlib
    import inspect
    module, name = target.rsplit('.', 1)
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    calls = []

    def called(*args, **kwargs):
        calls.append(signature.bind(*args, **kwargs).arguments.get('auto_scale_lr'))
        return 0

    monkeypatch.setattr(target, called)
    for words in ([], ['--auto-scale-lr']):
        with pytest.raises(SystemExit) as stop:
            main([command, config, '--data-root', str(generated_root), '--work-dir', str(tmp_path), *words])
        assert stop.value.code == 0, capsys.readouterr()
    assert calls == [False, True]
    with pytest.raises(SystemExit):
        main([command, '--help'])
    assert 'images of a step over the config\'s' in ' '.join(capsys.readouterr().out.split())


def test_a_dry_run_has_no_rate_to_scale(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['pipeline', 'cam_small', '--dry-run', '--auto-scale-lr'])
    assert stop.value.code == 1 and '--auto-scale-lr: a --dry-run trains with a rate of 0' in capsys.readouterr().err
