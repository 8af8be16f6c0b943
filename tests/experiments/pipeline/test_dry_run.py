import pytest

from mmwsss.cli.main import main
from mmwsss.experiments.pipeline import dry_run
from mmwsss.utils.errors import UserError

SIDE = 64


@pytest.fixture
def one_stage(tiny_pipeline, tmp_path):
    """Writes a pipeline that only trains the tiny classifier, with the weights of a file."""
    def write(checkpoint):
        path = tmp_path / 'one_stage.py'
        path.write_text(f"""
configs = dict(cam={str(tiny_pipeline.parent / 'cam.py')!r})
cfg_options = dict(cam=dict(load_from={str(checkpoint)!r}))
stages = dict(classifier=dict(type='train', config='cam', split='train'))
""")
        return path
    return write


def test_stages_are_tried_one_by_one(tiny_pipeline, tmp_path):
    """On generated pictures: a segmentor that cannot run keeps back what reads its output, and nothing else."""
    rows = dry_run(tiny_pipeline, work_dir=tmp_path, side=SIDE,
                   cfg_options={'cfg_options.segmentor.model.decode_head.in_channels': 7})
    found = {row.name: row for row in rows}
    assert list(found) == ['classifier', 'cam', 'eval_cam', 'label', 'eval_label', 'segmentor', 'eval_segmentor',
                           'picture_train', 'picture_val']
    assert [name for name, row in found.items() if not row.works] == ['segmentor', 'eval_segmentor', 'picture_val']
    assert 'RuntimeError' in found['segmentor'].error and found['segmentor'].seconds > 0
    assert found['eval_segmentor'].waits_for == 'segmentor'
    assert found['picture_val'].waits_for == 'eval_segmentor' and found['picture_val'].seconds is None
    assert found['classifier'].random == []  # the config names no weights
    assert 'Traceback' in (tmp_path / 'dry_run/errors.txt').read_text()
    stages = tmp_path / 'dry_run/stages'
    assert len(list((stages / 'cam/cam').glob('*.npz'))) == 2
    assert (stages / 'classifier/epoch_1.pth').is_file()


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code, *capsys.readouterr()


def test_command_says_what_a_real_run_would_miss(one_stage, generated_root, tmp_path, capsys):
    config = one_stage(tmp_path / 'gone.pth')
    before = sorted(path.name for path in generated_root.rglob('*'))
    code, out, errors = run(['pipeline', config, '--dry-run', '--data-root', generated_root, '--work-dir',
                              tmp_path / 'work', '--side', SIDE], capsys)
    assert code == 3, out + errors
    assert 'stage classifier (a real run would stop at once):' in out and 'gone.pth: no such file of weights' in out
    assert '1 of 1 stages run; a real run would stop at 1 of them' in out
    assert not (tmp_path / 'work').exists()  # nothing is left
    assert sorted(path.name for path in generated_root.rglob('*')) == before


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--dry-run', '--side', '63'], 'at least 64 pixels'),
    (['--dry-run', '--launcher', 'pytorch'], 'runs in one process'),
    (['--side', '64'], 'goes with --dry-run only'),
    (['--work-dir', 'w'], '--data-root: must be given'),
    (['--data-root', '.'], '--work-dir: must be given'),
])
def test_options_that_do_not_fit(one_stage, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run(['pipeline', one_stage('gone.pth'), *arguments], capsys)
    assert code == 1 and words in errors


def test_files_of_a_failed_dry_run_stay_for_the_next(one_stage, tmp_path, generated_root):
    """One of weights that do not fit fails, and leaves its errors; the next one begins anew."""
    (tmp_path / 'empty.pth').write_bytes(b'')
    row, = dry_run(one_stage(tmp_path / 'empty.pth'), generated_root, tmp_path / 'work', side=SIDE)
    assert not row.works and row.random == []
    assert 'empty.pth' in (tmp_path / 'work/dry_run/errors.txt').read_text()
    row, = dry_run(one_stage(tmp_path / 'gone.pth'), generated_root, tmp_path / 'work', side=SIDE)
    assert row.works and row.random == [str(tmp_path / 'gone.pth')]
    assert not (tmp_path / 'work').exists()


def test_nothing_is_left_where_the_data_set_is_wrong(one_stage, tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
    (tmp_path / 'temporary').mkdir()
    with pytest.raises(UserError, match='no such folder'):
        dry_run(one_stage('gone.pth'), tmp_path / 'nowhere', side=SIDE)
    assert not any((tmp_path / 'temporary').iterdir())
