import numpy as np
import pytest

from mmwsss.datasets import DataFolder, ImageLabelDataset, VOCImageLabelDataset, VOCSegDataset, mask_checks
from mmwsss.datasets.mask_checks import check_not_binary, class_names, report_disagreement
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.utils.errors import UserError


@pytest.fixture
def messages(monkeypatch):
    found = []
    monkeypatch.setattr(mask_checks, 'print_log', lambda message, *args, **kwargs: found.append(message))
    return found


@pytest.fixture
def binary(make_voc):
    """One class, and masks as most tools write them."""
    root = make_voc()
    (root / 'classes.txt').write_text('crack\n')
    (root / 'labels.json').write_text('{"im_0": ["crack"], "im_1": ["crack"], "im_2": [], "im_3": ["crack"]}')
    for i in range(4):
        mask = np.zeros((10 + i, 16), np.uint8)
        mask[2:6, 3:9] = 255 * (i != 2)
        write_label(root / f'SegmentationClass/im_{i}.png', mask)
    return root


@pytest.mark.parametrize('ids, refused', [
    ([(0, 255), (0,)], True), ([(0, 255), (255,)], True), ([(0,), (255,)], True),
    ([(0, 255), (0, 1)], False), ([(0,), (0,)], False), ([(255,)], False), ([], False), ([(1, 255)], False)])
def test_binary_masks_are_told_by_the_whole_set(ids, refused):
    numbers = {f'masks/{i}.png': values for i, values in enumerate(ids)}
    if not refused:
        check_not_binary(numbers)
        return
    with pytest.raises(UserError, match=r'^masks: the masks hold only 0 and 255, .*mask_values=\{255: 1\}'):
        check_not_binary(numbers)


@pytest.mark.parametrize('build', [
    lambda root, **options: VOCSegDataset(root, 'train', **options),
    lambda root, **options: VOCImageLabelDataset(root, 'train', require_masks=True, **options),
    lambda root, **options: VOCImageLabelDataset(root, 'train', label_source='mask', **options)])
def test_binary_masks_in_data_sets(binary, build, messages):
    with pytest.raises(UserError, match='SegmentationClass: the masks hold only 0 and 255'):
        build(binary).full_init()
    for _ in range(2):  # the second time from the cache
        dataset = build(binary, mask_values={255: 1})
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        assert [info['mask_values'] for info in infos] == [{0: 0, 255: 1}] * 4 and messages == []
        if 'gt_img_label' in infos[0]:
            assert [info['gt_img_label'].tolist() for info in infos] == [[1], [1], [0], [1]]


def test_labels_of_masks_are_loaded_with_their_values(binary):
    config = DataFolder.find(binary, mask_values={'255': 1}).dataset_config(dict(
        type='VOCSegDataset', split='train', pipeline=[dict(type='LoadImage'), dict(type='LoadMask'),
                                                       dict(type='PackWSSSInputs')]))
    from mmwsss.registry import DATASETS
    dataset = DATASETS.build(config)
    for i in range(4):
        sample = dataset[i]['data_samples']
        expected = read_label(binary / f'SegmentationClass/im_{i}.png') // 255
        np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), expected)
        assert sample.metainfo['mask_values'] == {0: 0, 255: 1}


def test_mask_values_are_those_of_the_ground_truth(binary):
    folder = DataFolder.find(binary, mask_values={255: 1})
    assert 'mask_values' not in folder.dataset_config(dict(type='VOCSegDataset', seg_dir='/pseudo labels'))
    assert folder.dataset_config(dict(type='VOCSegDataset'))['mask_values'] == {0: 0, 255: 1}
    assert DataFolder.of_dataset(folder.dataset_config(dict(type='VOCSegDataset'))).mask_values == {0: 0, 255: 1}


def test_disagreement_by_brute_force(messages):
    rng = np.random.default_rng(0)
    classes = ('cat', 'dog', 'cow')
    numbers = {f's{i}': np.flatnonzero(rng.random(4) < .5).tolist() + [255] for i in range(60)}
    labels = {stem: [c for c in classes if rng.random() < .5] if rng.random() < .8 else None for stem in numbers}
    shown = {stem: class_names(values, classes) for stem, values in numbers.items()}
    both = [stem for stem in numbers if labels[stem] is not None]
    unlike = [stem for stem in both if any((i + 1 in numbers[stem]) != (c in labels[stem])
                                           for i, c in enumerate(classes))]
    assert report_disagreement(shown, labels, 'masks') == len(unlike) / len(both) > 0
    message, = messages
    assert message.startswith(f'masks: the masks of {len(unlike)} of {len(both)} images (') and unlike[0] in message
    messages.clear()
    assert report_disagreement({'a': ['cat'], 'b': []}, {'a': ['cat'], 'b': [], 'c': ['dog']}, 'masks') == 0
    assert report_disagreement({}, {}, 'masks') == 0 and messages == []
    assert class_names([0, 1, 5, 255], classes) == ['cat', 'number 5']


def test_numbers_of_another_class_list_are_reported(make_voc, messages):
    root = make_voc()
    VOCImageLabelDataset(root, 'train', require_masks=True).full_init()
    assert messages == []
    (root / 'classes.txt').write_text('dog\ncat\n')
    VOCImageLabelDataset(root, 'train').full_init()
    assert messages == []  # without a look at the masks
    VOCImageLabelDataset(root, 'train', require_masks=True).full_init()
    message, = messages
    assert 'the masks of 4 of 4 images (100.0%)' in message and 'im_0: dog in the mask, cat in the label' in message


def test_one_class_with_negatives(make_folder, messages):
    root = make_folder()
    (root / 'classes.txt').write_text('crack\n')
    (root / 'labels.csv').unlink()
    (root / 'labels.json').write_text('{"a": ["crack"], "b": [], "c": ["_background_"]}')
    for i, stem in enumerate('abc'):
        mask = np.zeros((10 + i, 16), np.uint8)
        mask[:3] = stem == 'a'
        write_label(root / f'masks/{stem}.png', mask)
    for missing_label in ('error', 'skip', 'none'):
        dataset = ImageLabelDataset(root, label_file='labels.json', mask_dir='masks', require_masks=True,
                                    missing_label=missing_label)
        assert [dataset.get_data_info(i)['gt_img_label'].tolist() for i in range(3)] == [[1], [0], [0]]
        assert [dataset.get_cat_ids(i) for i in range(3)] == [[0], [], []]
    assert messages == [] and dataset.skipped == []
