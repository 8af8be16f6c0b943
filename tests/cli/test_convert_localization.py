import pytest

from mmwsss.cli.main import main
from mmwsss.cli.run_cli import run_cli


@pytest.fixture
def convert(generated_root, tmp_path, capsys):
    """Runs ``mmwsss convert localization masks`` and returns the exit status and stderr."""
    def run(*options):
        with pytest.raises(SystemExit) as stop:
            run_cli(lambda: main(['convert', 'localization', 'masks', str(generated_root), '--split', 'train',
                                  '--out-dir', str(tmp_path / 'set'), *options]))
        return stop.value.code, capsys.readouterr().err
    return run


@pytest.mark.parametrize('options, message', [
    (('--held-out', '2'), '--held-out: must be a share between 0 and 1'),
    (('--held-out', '.3', '--name', 'held_out'), 'a split of the same name'),
    (('--min-share', '5'), '--min-share: must be a share from 0 to 1')])
def test_options_are_checked_before_anything_is_written(convert, tmp_path, options, message):
    code, err = convert(*options)
    assert code == 1 and message in err and err.count('\n') == 1
    assert not (tmp_path / 'set').exists()


def test_a_second_run_puts_no_held_out_image_back(convert, tmp_path):
    assert convert('--held-out', '.3')[0] == 0
    lists = tmp_path / 'set/ImageSets'
    before = {path.name: path.read_text() for path in lists.iterdir()}
    assert sorted(before) == ['held_out.txt', 'train.txt']
    for options in (('--held-out', '.3'), ()):
        code, err = convert(*options)
        assert code == 1 and 'held_out.txt' in err and 'remove' in err and err.count('\n') == 1
        assert {path.name: path.read_text() for path in lists.iterdir()} == before
    (lists / 'held_out.txt').unlink()
    assert convert('--held-out', '.3')[0] == 0  # the same images again
    assert {path.name: path.read_text() for path in lists.iterdir()} == before
