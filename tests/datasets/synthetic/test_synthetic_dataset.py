import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmwsss.datasets.synthetic.classes import HABITAT_PERIOD, MAX_CLASSES, class_look, class_names, has_habitat
from mmwsss.datasets.synthetic.paint import EMBLEM, emblem_texture
from mmwsss.datasets.synthetic.scene import IGNORE, draw_scene
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError


def file_bytes(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(3, 'train', i, num_classes=7, size=96) for i in range(120)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return generate_voc_layout(tmp_path_factory.mktemp('voc') / 'new' / 'data', num_train=12, num_val=5, size=64)


def test_layout_is_valid_and_labels_are_those_of_the_masks(root):
    names = (root / 'classes.txt').read_text().split()
    assert names == ['boat', 'dog', 'cat', 'train', 'bird']
    labels = json.loads((root / 'labels.json').read_text())
    splits = {split: (root / 'ImageSets' / f'{split}.txt').read_text().split() for split in ('train', 'val')}
    assert [len(stems) for stems in splits.values()] == [12, 5]
    assert sorted(splits['train'] + splits['val']) == sorted(labels)
    for stem, present in labels.items():
        mask = read_label(root / 'SegmentationClass' / f'{stem}.png')
        assert {names[value - 1] for value in set(mask.ravel().tolist()) - {0, 255}} == set(present) != set()
        image = cv2.imread(str(root / 'JPEGImages' / f'{stem}.jpg'))
        saliency = cv2.imread(str(root / 'Saliency' / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == mask.shape == saliency.shape and saliency.ndim == 2
    for folder in ('JPEGImages', 'SegmentationClass', 'Saliency'):
        assert len(list((root / folder).iterdir())) == len(labels)
    assert not (root / 'synthetic.partial.json').exists()


def test_same_seed_same_bytes_and_another_seed_other_images(root, tmp_path):
    generate_voc_layout(tmp_path / 'same', num_train=12, num_val=5, size=64)
    assert file_bytes(tmp_path / 'same') == file_bytes(root)
    generate_voc_layout(tmp_path / 'other', num_train=2, num_val=0, size=64, seed=1)
    stem = 'JPEGImages/train_00000.jpg'
    assert file_bytes(tmp_path / 'other')[stem] != file_bytes(root)[stem]


def test_growing_keeps_every_image_and_equals_making_it_at_once(root, tmp_path):
    small = tmp_path / 'grown'
    generate_voc_layout(small, num_train=4, num_val=2, size=64)
    before = file_bytes(small)
    generate_voc_layout(small, num_train=12, num_val=5, size=64)
    after = file_bytes(small)
    assert all(after[name] == data for name, data in before.items() if name.startswith(('JPEG', 'Seg', 'Sal')))
    assert after == file_bytes(root)
    with pytest.raises(UserError, match='num_train'):
        generate_voc_layout(small, num_train=4, num_val=5, size=64)


def test_interrupted_run_goes_on_and_a_complete_one_does_nothing(root, tmp_path, monkeypatch):
    target = tmp_path / 'killed'
    drawn = []

    def draw_until_killed(seed, split, index, *args):
        if len(drawn) == 7:
            raise KeyboardInterrupt
        drawn.append((split, index))
        return draw_scene(seed, split, index, *args)

    monkeypatch.setattr('mmwsss.datasets.synthetic.synthetic_dataset.draw_scene', draw_until_killed)
    with pytest.raises(KeyboardInterrupt):
        generate_voc_layout(target, num_train=12, num_val=5, size=64)
    assert not (target / 'synthetic.json').exists()
    # As kill -9 between two files of one scene would leave it.
    (target / 'SegmentationClass' / 'train_00003.png').unlink()

    redrawn = []
    monkeypatch.setattr('mmwsss.datasets.synthetic.synthetic_dataset.draw_scene',
                        lambda *args: redrawn.append(args[1:3]) or draw_scene(*args))
    generate_voc_layout(target, num_train=12, num_val=5, size=64)
    assert file_bytes(target) == file_bytes(root)
    assert set(redrawn) == {('train', 3), *(('train', i) for i in range(7, 12)), *(('val', i) for i in range(5))}

    redrawn.clear()
    stamps = {path: path.stat().st_mtime_ns for path in target.rglob('*')}
    generate_voc_layout(target, num_train=12, num_val=5, size=64)
    assert not redrawn and stamps == {path: path.stat().st_mtime_ns for path in target.rglob('*')}


def test_refuses_foreign_folders_and_other_parameters(root, tmp_path):
    (tmp_path / 'photo.jpg').write_bytes(b'mine')
    with pytest.raises(UserError, match='holds other data'):
        generate_voc_layout(tmp_path, num_train=1, num_val=0)
    assert [path.name for path in tmp_path.iterdir()] == ['photo.jpg']
    with pytest.raises(UserError, match='is a file'):
        generate_voc_layout(tmp_path / 'photo.jpg', num_train=1, num_val=0)
    with pytest.raises(UserError, match="'seed': 0"):
        generate_voc_layout(root, num_train=12, num_val=5, size=64, seed=9)
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'synthetic.json').write_text('{"seed":')
    with pytest.raises(UserError, match=r'synthetic\.json: is damaged'):
        generate_voc_layout(tmp_path / 'broken', num_train=1, num_val=0)


@pytest.mark.parametrize('arguments', [
    {'num_classes': 0}, {'num_classes': 201}, {'num_train': -1}, {'num_train': 0, 'num_val': 0}, {'size': 23},
    {'size': (15, 64)}, {'size': (64, 64, 3)}, {'size': 5000}, {'seed': -1}, {'seed': 1.5},
    {'max_classes_per_image': 0},
    {'empty_habitats': 1.1}, {'empty_habitats': float('nan')}])
def test_arguments_out_of_range(arguments, tmp_path):
    name = next(iter(arguments))
    with pytest.raises(UserError, match=name):
        generate_voc_layout(tmp_path / 'new', **arguments)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('num_classes', [1, 200])
def test_one_and_two_hundred_classes(num_classes, tmp_path):
    generate_voc_layout(tmp_path, num_train=25, num_val=0, num_classes=num_classes, size=48)
    names = (tmp_path / 'classes.txt').read_text().split()
    assert len(set(names)) == num_classes
    labels = json.loads((tmp_path / 'labels.json').read_text())
    used = {name for present in labels.values() for name in present}
    assert used <= set(names) and len(used) > .1 * num_classes
    if num_classes == 200:
        assert names[:2] == ['boat', 'dog'] and names[10] == 'class_10' and names[199] == 'class_199'


def test_number_of_classes_objects_and_sizes(scenes):
    counts = [len(scene.classes()) for scene in scenes]
    assert set(counts) == {1, 2, 3}
    assert max(len(scene.object_classes) - len(set(scene.object_classes)) for scene in scenes) >= 1
    sizes = {scene.image.shape[:2] for scene in scenes}
    assert sizes == {(72, 96), (96, 72), (64, 96), (96, 64), (96, 96), (77, 96)}
    assert all(len(draw_scene(0, 'train', i, 5, 96, max_classes_per_image=1).classes()) == 1 for i in range(20))
    assert draw_scene(0, 'train', 0, 5, (40, 90)).image.shape == (40, 90, 3)


@pytest.mark.parametrize('size', [24, 32, (16, 16), (16, 200), (200, 16), 150])
def test_every_size_has_labels_on_every_image(size):
    for index in range(60):
        scene = draw_scene(0, 'train', index, 9, size)
        assert set(scene.classes()) == set(scene.object_classes) != set()
        assert scene.image.dtype == scene.label.dtype == scene.saliency.dtype == np.uint8
        assert scene.image.shape[:2] == scene.label.shape == scene.saliency.shape == scene.habitat.shape


def test_emblem_is_small_and_visible_and_body_is_large(scenes):
    shares = []
    for scene in scenes:
        for number in range(1, len(scene.object_classes) + 1):
            emblem = ((scene.instance == number) & (scene.part == EMBLEM)).sum()
            assert emblem > 0
            shares.append(emblem / (scene.instance == number).sum())
    # Occlusion may hide up to half of a body, so single objects can have more.
    assert np.median(shares) < .25 and np.quantile(shares, .95) < .45
    assert len(shares) > 150


@pytest.mark.parametrize('class_id', [*range(12), 57, 199])
def test_emblem_is_smaller_than_the_body_for_each_class(class_id):
    look = class_look(class_id)
    body, emblem = np.zeros((2, 440, 440), np.uint8)
    for canvas, corners in ((body, look.outline), (emblem, look.anchor + look.radius * look.emblem)):
        cv2.fillPoly(canvas, [np.round(220 + 160 * corners).astype(np.int32)], 1)
    assert .02 < emblem.sum() / (body | emblem).sum() < .3
    assert (body & emblem).any(), 'the emblem touches its body'
    grid = np.linspace(-.5, .5, 40)
    second = emblem_texture(look.texture, *np.meshgrid(grid, grid))
    assert .1 < second.mean() < .9, 'both colours show'


def test_classes_differ_by_emblem_and_share_materials():
    looks = [class_look(k) for k in range(MAX_CLASSES)]
    assert len({(look.colours, look.texture, look.emblem.tobytes()) for look in looks}) == MAX_CLASSES
    assert len({look.outline.tobytes() for look in looks}) == MAX_CLASSES
    assert len({look.habitat for look in looks if look.habitat}) == -(-MAX_CLASSES // HABITAT_PERIOD)
    for even, odd in zip(looks[::2], looks[1::2]):
        assert even.material == odd.material
    assert len(set(class_names(MAX_CLASSES))) == MAX_CLASSES
    with pytest.raises(ValueError, match='class_id'):
        class_look(MAX_CLASSES)


def test_habitat_classes_always_stand_on_their_own_background(scenes):
    seen = set()
    for scene in scenes:
        owners = set(scene.habitat.ravel().tolist()) - {-1}
        assert owners >= {k for k in scene.classes() if has_habitat(k)}
        seen |= owners
        for number, class_id in enumerate(scene.object_classes, start=1):
            under = scene.habitat[scene.instance == number]
            assert (under == (class_id if has_habitat(class_id) else -1)).all()
    assert seen == {0, 3, 6}


@pytest.mark.parametrize('share', [0., .2, 1.])
def test_share_of_empty_habitats(share):
    empty = []
    for index in range(150):
        scene = draw_scene(0, 'train', index, 7, (40, 120), max_classes_per_image=2, empty_habitats=share)
        empty.append(len(set(scene.habitat.ravel().tolist()) - {-1, *scene.classes()}))
    assert set(empty) <= {0, 1}
    # Four standard deviations of a share of 150.
    assert abs(np.mean(empty) - share) <= 4 * np.sqrt(share * (1 - share) / 150)


def test_habitats_look_alike_between_images_and_generic_backgrounds_do_not():
    def colour(scene, owner):
        return np.median(scene.image[(scene.habitat == owner) & (scene.instance == 0)], axis=0)

    scenes = [draw_scene(0, 'train', i, 3, (64, 64)) for i in range(80)]
    water = np.array([colour(s, 0) for s in scenes if 0 in s.classes()])
    other = np.array([colour(s, -1) for s in scenes if set(s.classes()) & {1, 2}])
    assert (water[:, 2] > water[:, 0] + 20).all(), 'water is blue whatever the light'
    hue = (other[:, 2] - other[:, 0]) / other.mean(axis=1)
    assert (hue > .2).any() and (hue < -.2).any()


def test_objects_measure_ten_to_sixty_percent_of_the_side():
    extents = []
    for index in range(80):
        scene = draw_scene(1, 'train', index, 5, (100, 100), max_classes_per_image=1)
        for number in range(1, len(scene.object_classes) + 1):
            y, x = np.nonzero(scene.instance == number)
            extents.append(max(np.ptp(y), np.ptp(x)) + 1)
    assert max(extents) <= 63  # 60 and the rounding of the corners
    assert min(extents) >= 5  # 10, half hidden
    assert np.std(extents) > 8


def test_occlusion_happens_and_leaves_half_of_every_object():
    touching = 0
    for index in range(40):
        scene = draw_scene(2, 'train', index, 5, (96, 96))
        padded = np.pad(scene.instance, 1, mode='edge').astype(int)
        right = padded[1:-1, 2:]
        touching += bool(((scene.instance > 0) & (right > 0) & (scene.instance != right)).any())
        assert set(np.unique(scene.instance)) == set(range(len(scene.object_classes) + 1))
    assert touching >= 4


def test_rim_of_255_is_thin_and_optional():
    for index in range(10):
        rimmed, plain = (draw_scene(0, 'val', index, 5, 96, ignore_border=b) for b in (True, False))
        assert np.array_equal(rimmed.image, plain.image)
        assert IGNORE in rimmed.label and IGNORE not in plain.label
        rim = rimmed.label == IGNORE
        assert np.array_equal(rimmed.label[~rim], plain.label[~rim])
        near_edge = cv2.dilate(cv2.morphologyEx(plain.instance, cv2.MORPH_GRADIENT, np.ones((3, 3))),
                               np.ones((3, 3))) > 0
        assert (rim <= near_edge).all()


def test_saliency_marks_the_objects_but_not_perfectly(scenes):
    object_values = np.concatenate([scene.saliency[scene.instance > 0] for scene in scenes])
    ground_values = np.concatenate([scene.saliency[scene.instance == 0] for scene in scenes])
    assert object_values.mean() > 180 and ground_values.mean() < 25
    assert (ground_values > 40).mean() > .005, 'some distractors are salient'


def test_splits_differ_and_index_alone_decides():
    first = draw_scene(0, 'train', 0, 5, 48)
    assert not np.array_equal(first.image, draw_scene(0, 'val', 0, 5, 48).image)
    draw_scene(0, 'train', 1, 5, 48)
    assert np.array_equal(first.image, draw_scene(0, 'train', 0, 5, 48).image)
