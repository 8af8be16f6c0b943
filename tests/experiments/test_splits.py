import shutil

import pytest

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.splits import check_splits
from mmwsss.utils.errors import UserError


@pytest.fixture
def data(csv_folder):
    """A folder of images with a label file, and no lists of images."""
    shutil.rmtree(csv_folder / 'ImageSets')
    return DataFolder.find(csv_folder)


def test_the_message_says_where_lists_belong(data):
    with pytest.raises(UserError) as caught:
        check_splits(data, ['train', 'val'], 'a pipeline')
    assert str(caught.value) == (
        f'{data.root}: has no lists of images, but a pipeline needs the splits train and val; write the names of the '
        f'images, one a line, into {data.root}/ImageSets/train.txt and {data.root}/ImageSets/val.txt (docs/data.md, '
        '"Splits", has lines that do it)')


def test_lists_from_elsewhere_do(data, tmp_path):
    path = tmp_path / 'elsewhere.txt'
    path.write_text('train_00000\n')
    check_splits(data, [str(path)], 'a study')
    check_splits(data, [], 'a pipeline')
    with pytest.raises(UserError, match=r'a study needs the split other\.txt; .* into other\.txt \('):
        check_splits(data, [str(path), 'other.txt'], 'a study')


def test_who_misses_one_of_several_says_so_itself(csv_folder):
    check_splits(DataFolder.find(csv_folder), ['train', 'gone'], 'a pipeline')
