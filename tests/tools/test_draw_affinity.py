import sys

import cv2
import numpy as np
import pytest
import torch

from mmwsss.cli.draw_affinity import parse_point
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import fill_num_classes, read_config
from mmwsss.registry import MODELS
from mmwsss.structures.image_file import read_image
from mmwsss.visualization import affinity

CLASSES = ('cat', 'dog')


@pytest.fixture(scope='module')
def config(repo_root):
    return repo_root / 'configs/seam/seam_efflite0_small.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory, config):
    """A checkpoint, the same without class names, an image of 96 x 64, and a data set's class list."""
    folder = tmp_path_factory.mktemp('draw_affinity')
    cfg = read_config(config)
    fill_num_classes(cfg.model, len(CLASSES))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.classifier.cam_head.conv_cam.weight)
    state_dict = model.state_dict()
    torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=state_dict), folder / 'seam.pth')
    torch.save(dict(state_dict=state_dict), folder / 'nameless.pth')
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'photo.png'), image)
    (folder / 'broken.jpg').write_bytes(b'no image')
    (folder / 'data').mkdir()
    (folder / 'data/classes.txt').write_text('\n'.join(CLASSES))
    return folder


@pytest.fixture(scope='module')
def draw_affinity(load_tool):
    return load_tool('draw_affinity.py')


@pytest.fixture
def tool(folder, config, draw_affinity, monkeypatch, capsys, tmp_path):
    """Runs the tool in this process: (exit code, stdout, stderr)."""

    def run(*options, checkpoint='seam.pth', image='photo.png', points=('20,30', '0.75,0.5'), cfg=config):
        # A single point may begin with a minus, which looks like an option.
        given = [f'--points={points[0]}'] if len(points) == 1 else ['--points', *points]
        out = [] if '--out' in options else ['--out', str(tmp_path / 'new/out.png')]
        monkeypatch.setattr(sys, 'argv', ['draw_affinity.py', str(cfg), str(folder / checkpoint),
                                          str(folder / image), *given, *out, *options])
        with pytest.raises(SystemExit) as caught:
            run_cli(draw_affinity.main)
        return (caught.value.code, *capsys.readouterr())

    return run


def test_picture_is_drawn_and_described(tool, tmp_path):
    code, stdout, stderr = tool()
    assert (code, stderr) == (0, '')
    picture = read_image(tmp_path / 'new/out.png')
    assert picture.shape == (6 + 2 * 18 + 240 + 6, 5 * 360 + 6 * 6, 3)
    first, *others = [line for line in stdout.splitlines() if ' - mmengine - ' not in line]
    assert first.startswith(f'{tmp_path}/new/out.png: 2 points, scale 1, grid 6 x 4, ')
    assert others[0].startswith('affinity to 20,30: ') and others[0].endswith(' from 0.75,0.5') and len(others) == 2
    # Similarity is symmetric.
    assert others[0].split()[-3] == others[1].split()[-3]


def test_scale_class_and_height(tool, tmp_path):
    pictures = []
    for name in CLASSES:
        code, stdout, _ = tool('--scale', '2', '--class', name, '--height', '64')
        assert code == 0 and f'scale 2, grid 12 x 8, {name} (score' in stdout
        pictures.append(read_image(tmp_path / 'new/out.png'))
        assert pictures[-1].shape == (6 + 2 * 18 + 64 + 6, 5 * 96 + 6 * 6, 3)
    cams = 6 + 3 * 102  # the left edge of the fourth column
    assert np.array_equal(pictures[0][42:, :cams], pictures[1][42:, :cams])
    assert not np.array_equal(pictures[0][42:, cams:], pictures[1][42:, cams:])


def test_class_names_come_from_checkpoint_or_data_set(tool, folder):
    code, _, stderr = tool(checkpoint='nameless.pth')
    assert code == 1 and 'nameless.pth: holds no class names; name the data set' in stderr and '--data-root' in stderr
    code, stdout, _ = tool('--data-root', str(folder / 'data'), checkpoint='nameless.pth')
    assert code == 0 and any(f'{name} (score' in stdout for name in CLASSES)


def test_pixels_are_their_centres_and_fractions_themselves():
    for text, point in (('0,0', (0.5 / 96, 0.5 / 64)), ('95,63', (95.5 / 96, 63.5 / 64)), ('0.25,0.5', (0.25, 0.5)),
                        ('0.0,0.999', (0, 0.999)), ('.5,32', (0.5, 32.5 / 64)), ('1,1', (1.5 / 96, 1.5 / 64))):
        assert parse_point(text, (64, 96)) == pytest.approx(point)


def test_points_that_share_a_position_are_said_to(tool):
    code, stdout, _ = tool(points=('20,30', '21,30'))
    assert code == 0 and 'share a position of the 6 x 4 grid' in stdout and '1.000 from 21,30' in stdout
    assert 'share a position' not in tool()[1]


def test_the_image_is_not_replaced(tool, folder):
    before = (folder / 'photo.png').read_bytes()
    code, _, stderr = tool('--out', str(folder / 'data/../photo.png'))
    assert code == 1 and 'is the image itself' in stderr and (folder / 'photo.png').read_bytes() == before


@pytest.mark.parametrize('options, message', [
    (dict(points=('96,0',)), '--points 96,0: is outside of the image, which is 96 x 64'),
    (dict(points=('0,64',)), '--points 0,64: is outside'),
    (dict(points=('-1,3',)), '--points -1,3: is outside'),
    (dict(points=('1.0,0.5',)), '--points 1.0,0.5: is outside'),
    (dict(points=('3',)), '--points 3: is no point'),
    (dict(points=('1.2.3,4',)), '--points 1.2.3,4: is no point'),
    (dict(image='absent.jpg'), 'absent.jpg: cannot be read'),
    (dict(image='broken.jpg'), 'broken.jpg: unreadable image'),
    (dict(checkpoint='absent.pth'), 'absent.pth: no such checkpoint'),
    (dict(checkpoint='broken.jpg'), 'broken.jpg: is truncated or no checkpoint'),
])
def test_wrong_files_and_points(tool, tmp_path, options, message):
    code, stdout, stderr = tool(**options)
    assert code == 1 and stderr.startswith('error: ') and message in stderr and stderr.count('\n') == 1
    assert stdout == '' and not (tmp_path / 'new').exists()


def test_wrong_options(tool, repo_root):
    baseline = repo_root / 'configs/cam/cam_efflite0_small.py'
    for options, message in (
            (('--class', 'cow'), '--class cow: is not among the classes cat, dog'),
            (('--scale', '0'), '--scale 0: must be above 0'), (('--scale', 'nan'), '--scale nan: must be'),
            (('--height', '3'), '--height 3: must be'), (('--out', 'picture.jpg'), 'end the name in .png')):
        code, _, stderr = tool(*options)
        assert code == 1 and message in stderr and stderr.count('\n') == 1
    code, _, stderr = tool(cfg=baseline)
    assert code == 1 and 'seam.pth:' in stderr and 'this is the checkpoint of another model' in stderr
    code, _, stderr = tool(cfg=repo_root / 'configs/pipelines/cam_small.py')
    assert code == 1 and 'cam_small.py: has no model' in stderr


def test_model_without_pcm(tool, folder, repo_root):
    path = repo_root / 'configs/seam/seam_efflite0_small_er.py'
    cfg = read_config(path)
    fill_num_classes(cfg.model, len(CLASSES))
    torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=MODELS.build(cfg.model).state_dict()),
               folder / 'er.pth')
    code, _, stderr = tool(checkpoint='er.pth', cfg=path)
    assert code == 1 and 'SEAM: has no pixel correlation module' in stderr and stderr.count('\n') == 1


@pytest.fixture(scope='module')
def plain(folder, repo_root):
    """The config of a classifier without PCM, whose checkpoint is plain.pth."""
    path = repo_root / 'configs/cam/cam_efflite0_small.py'
    cfg = read_config(path)
    fill_num_classes(cfg.model, len(CLASSES))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES)), state_dict=model.state_dict()), folder / 'plain.pth')
    return path


def test_stages_of_a_classifier_without_pcm(tool, tmp_path, plain, monkeypatch):
    drawn, draw = [], affinity.draw_stages
    monkeypatch.setattr(affinity, 'draw_stages', lambda *args: drawn.append(args) or draw(*args))
    code, stdout, stderr = tool('--stages', '0', '1', '3', '--class', 'dog', '--height', '64', checkpoint='plain.pth',
                                cfg=plain)
    assert (code, stderr) == (0, '')
    # The image, three stages and the CAM, in two rows.
    assert read_image(tmp_path / 'new/out.png').shape == (6 + 18 + 2 * (18 + 64 + 6), 5 * 96 + 6 * 6, 3)
    similarity = drawn[0][2]
    assert list(similarity) == ['stage 0, 24 x 16', 'stage 1, 12 x 8', 'stage 3, 6 x 4']
    for maps in similarity.values():
        assert maps[0].max() == pytest.approx(1) == maps[1].max()
        assert (maps[0] < 0.99).any()
    first, *others = [line for line in stdout.splitlines() if ' - mmengine - ' not in line]
    assert first.startswith(f'{tmp_path}/new/out.png: 2 points, scale 1, stages 0, 1, 3, dog (score ')
    assert [line.split(': ')[0] for line in others] == ['stage 0'] * 2 + ['stage 1'] * 2 + ['stage 3'] * 2
    # The cosine of the two points, which are these cells of the grids, is the same from either side.
    value = similarity['stage 0, 24 x 16'][0, 8, 18]
    assert all(f', {value:.3f} from ' in line for line in others[:2])


def test_wrong_stages(tool, plain):
    for stages, message in ((('9',), 'error: 9: is no stage of the model, which has 0, 1, 2, 3, 4'),
                            (('0', '0'), 'error: --stages 0 0: names a stage twice')):
        code, _, stderr = tool('--stages', *stages, checkpoint='plain.pth', cfg=plain)
        assert code == 1 and stderr.startswith(message) and stderr.count('\n') == 1
    code, _, stderr = tool(checkpoint='plain.pth', cfg=plain)
    assert code == 1 and 'has no pixel correlation module' in stderr and '--stages' in stderr


def test_stages_of_a_model_with_pcm(tool):
    code, stdout, _ = tool('--stages', '3')
    assert code == 0 and 'stage 3: similarity to 20,30: ' in stdout and 'affinity' not in stdout.replace('draw_aff', '')


def test_padding_is_refused(tool):
    code, _, stderr = tool('--cfg-options', 'model.data_preprocessor.test_cfg.size_divisor=60')
    assert code == 1 and 'pads the image' in stderr
