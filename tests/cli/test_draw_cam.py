import numpy as np
import pytest

from mmwsss.cli.main import main
from mmwsss.structures.cam_file import CAMFile, write_cam


@pytest.fixture
def draw(generated_root, tmp_path, capsys):
    """Runs ``mmwsss draw cam``: (exit code, stdout, stderr)."""
    def run(*words, folders=(str(tmp_path / 'cam'),)):
        with pytest.raises(SystemExit) as stop:
            main(['draw', 'cam', '--data-root', str(generated_root), '--split', 'train',
                  '--out-dir', str(tmp_path / 'out'), *words, *folders])
        return stop.value.code, *capsys.readouterr()
    return run


def write(folder, stem, root):
    from mmwsss.structures.image_file import read_image
    height, width = read_image(root / f'JPEGImages/{stem}.jpg').shape[:2]
    cam = np.full((1, -(-height // 4), -(-width // 4)), .5, np.float16)
    write_cam(folder / f'{stem}.npz', CAMFile(np.array([1]), cam, (height, width)))


def test_pictures_of_what_is_there(draw, generated_root, tmp_path):
    code, _, err = draw()
    assert code == 1 and 'no such CAM file' in err
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    for stem in stems[:-1]:
        write(tmp_path / 'cam', stem, generated_root)
    code, out, err = draw()
    assert code == 3 and f'{len(stems) - 1} pictures' in out and f'{stems[-1]}.npz: no such CAM file' in err
    assert sorted(path.stem for path in (tmp_path / 'out').glob('*.png')) == sorted(stems[:-1])


def test_a_damaged_file_is_left_out(draw, generated_root, tmp_path):
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()[:2]
    write(tmp_path / 'cam', stems[0], generated_root)
    broken = tmp_path / f'cam/{stems[1]}.npz'
    broken.write_bytes((tmp_path / f'cam/{stems[0]}.npz').read_bytes()[:99])
    code, out, err = draw()
    assert code == 3 and '1 pictures' in out and f'{broken}: not a valid CAM file' in err
    (tmp_path / f'cam/{stems[0]}.npz').unlink()
    code, _, err = draw()
    assert code == 1 and f'{broken}: not a valid CAM file' in err and err.count('error') == 1


def test_so_many_of_them(draw, generated_root, tmp_path):
    for stem in (generated_root / 'ImageSets/train.txt').read_text().split():
        write(tmp_path / 'cam', stem, generated_root)
    assert draw('--num-images', '3', '--height', '40')[:2] == (0, f'{tmp_path / "out"}: 3 pictures\n')
    assert len(list((tmp_path / 'out').glob('*.png'))) == 3
    assert draw('--num-images', '-1')[0] == 1 and draw('--num-images', '0')[0] == 1


def test_folders_side_by_side(draw, generated_root, tmp_path):
    stems = (generated_root / 'ImageSets/train.txt').read_text().split()
    for stem in stems:
        write(tmp_path / 'cam', stem, generated_root)
    folders = [f'{name}={tmp_path / folder}' for name, folder in (('CAM', 'cam'), ('SSA', 'refined'))]
    code, _, err = draw(folders=folders)
    assert code == 1 and str(tmp_path / 'refined') in err
    for stem in stems[1:]:
        write(tmp_path / 'refined', stem, generated_root)
    code, out, err = draw(folders=folders)
    assert code == 3 and f'{len(stems) - 1} pictures' in out and f'refined/{stems[0]}.npz: no such CAM file' in err
    code, _, err = draw(folders=[folders[0], folders[0]])
    assert code == 1 and 'is given twice' in err


@pytest.mark.parametrize(('out', 'message'), [
    ('data/SegmentationClass', 'is a folder of the data set'), ('data/JPEGImages/cams', 'is a folder of the data set'),
    ('labels', 'is of other files than the pictures'), ('foreign', 'has png files but no manifest.json'),
    ('cam', 'is of other files than the pictures')])
def test_only_its_own_pictures_are_replaced(draw, generated_copy, tmp_path, out, message):
    for stem in (generated_copy / 'ImageSets/train.txt').read_text().split():
        write(tmp_path / 'cam', stem, generated_copy)
    stem = min(path.stem for path in (tmp_path / 'cam').iterdir())
    for folder in ('labels', 'foreign'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f'{stem}.png').write_bytes(b'mine')
    for folder in ('labels', 'cam'):
        (tmp_path / folder / 'manifest.json').write_text('{"classes": []}')
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    code, _, err = draw('--data-root', str(generated_copy), '--out-dir', str(tmp_path / out))
    assert code == 1 and message in err and err.count('\n') == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before


def test_pictures_are_drawn_over(draw, generated_root, tmp_path):
    for stem in (generated_root / 'ImageSets/train.txt').read_text().split():
        write(tmp_path / 'cam', stem, generated_root)
    sizes = []
    for height in ('40', '80'):
        assert draw('--num-images', '1', '--height', height)[0] == 0
        sizes.append(next((tmp_path / 'out').glob('*.png')).stat().st_size)
    assert sizes[0] < sizes[1]
