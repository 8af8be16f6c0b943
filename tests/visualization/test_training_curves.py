import json

import pytest

from mmwsss.cli.main import main
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError
from mmwsss.visualization.training_curves import plot_curves, read_scalars


@pytest.fixture
def work_dir(tmp_path):
    """Logs of a training that was resumed at step 4."""
    for name, steps, offset in (('20260101_000000', range(1, 6), 0), ('20260102_000000', range(4, 8), 10)):
        folder = tmp_path / 'work' / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(lr=.1, loss=step + offset, loss_cls=.5, epoch=1, iter=step, memory=9, step=step)
                 for step in steps]
        lines.append(dict(mIoU=.3, step=steps[-1]))
        (folder / 'scalars.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    return tmp_path / 'work'


def test_steps_count_as_they_were_done_last(work_dir):
    curves = read_scalars(work_dir)
    assert curves['loss'] == [(1, 1), (2, 2), (3, 3), (4, 14), (5, 15), (6, 16), (7, 17)]
    assert set(curves) == {'loss', 'loss_cls', 'lr', 'mIoU'}


def test_a_last_line_that_a_killed_training_has_not_finished(work_dir):
    path = work_dir / '20260101_000000/vis_data/scalars.json'
    expected = read_scalars(work_dir)
    path.write_text(path.read_text() + '{"loss": 3')
    assert read_scalars(work_dir) == expected


def test_command_line(work_dir, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(['draw', 'curves', f'base={work_dir}', str(work_dir), '--keys', 'loss', 'lr', '--out',
              str(tmp_path / 'a.png')])
    assert stop.value.code == 0 and 'loss, lr of 2 trainings' in capsys.readouterr().out
    assert read_image(tmp_path / 'a.png').std() > 0


def test_one_name_for_two_trainings(work_dir, tmp_path, capsys):
    for words in ([f'a={work_dir}', f'a={work_dir}'], [str(work_dir)] * 2):
        with pytest.raises(SystemExit) as stop:
            main(['draw', 'curves', *words, '--out', str(tmp_path / 'a.png')])
        assert stop.value.code == 1 and 'is given twice; give another NAME=' in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:  # before anything is read
        main(['draw', 'curves', 'nowhere', '--out', str(tmp_path / 'a.bmp')])
    assert stop.value.code == 1 and 'a.bmp: a picture can be written as' in capsys.readouterr().err


@pytest.mark.parametrize(('content', 'message'), [
    (b'PK\x03\x04\xff\xfe', 'a: is no log of a training; name its work folder'),
    (b'{"step": 1e999}\n', 'line 1: is no entry'), (b'{"loss": 1' + 400 * b'0' + b'}\n', 'line 1: is no entry'),
    (b'[' * 100_000, None)])
def test_files_that_are_no_logs(tmp_path, content, message):
    (tmp_path / 'a').write_bytes(content)
    if message is None:  # may be a line that was not finished
        assert read_scalars(tmp_path / 'a') == {}
        return
    with pytest.raises(UserError, match=message):
        read_scalars(tmp_path / 'a')


def test_mistakes(work_dir, tmp_path):
    with pytest.raises(UserError, match=r"'los': was logged by none of run; there are loss, loss_cls, lr, mIoU"):
        plot_curves(dict(run=read_scalars(work_dir)), tmp_path / 'a.png', ['los'])
    with pytest.raises(UserError, match='change the suffix'):
        plot_curves(dict(run=read_scalars(work_dir)), tmp_path / 'a.gif')
    with pytest.raises(UserError, match='holds no vis_data'):
        read_scalars(tmp_path / 'nowhere')
    (tmp_path / 'scalars.json').write_text('{"loss": 1\n')
    with pytest.raises(UserError, match='line 1'):
        read_scalars(tmp_path / 'scalars.json')
