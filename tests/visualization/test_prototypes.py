import math

import pytest
import torch
from PIL import Image

from mmwsss.utils.errors import UserError
from mmwsss.visualization.prototypes import cosine_matrix, mean_off_diagonal, plot_cosine_matrix


@pytest.mark.parametrize(('num', 'channels'), [(2, 1), (4, 7), (9, 3)])
def test_cosine_matrix(num, channels):
    torch.manual_seed(num)
    prototypes = torch.randn(num, channels)
    matrix = cosine_matrix(prototypes)
    total = 0
    for i in range(num):
        for j in range(num):
            product = sum(a * b for a, b in zip(prototypes[i].tolist(), prototypes[j].tolist()))
            lengths = math.hypot(*prototypes[i].tolist()) * math.hypot(*prototypes[j].tolist())
            assert matrix[i, j].item() == pytest.approx(product / lengths, abs=1e-6)
            total += product / lengths if i != j else 0
    assert mean_off_diagonal(matrix) == pytest.approx(total / (num * (num - 1)), abs=1e-6)


def test_picture(tmp_path):
    plot_cosine_matrix(torch.eye(3) - 0.2, ['background', 'cat', 'dog'], tmp_path / 'new/a.png', 'Prototypes')
    picture = Image.open(tmp_path / 'new/a.png').convert('RGB')
    assert min(picture.size) > 200 and len(picture.getcolors(1 << 20)) > 50


@pytest.mark.parametrize(('names', 'file', 'message'), [(['a', 'b'], 'a.png', '3 prototypes, but 2 names'),
                                                        (['a', 'b', 'c'], 'a.txt', 'change the suffix')])
def test_wrong_arguments(tmp_path, names, file, message):
    with pytest.raises(UserError, match=message):
        plot_cosine_matrix(torch.eye(3), names, tmp_path / file)
    assert not list(tmp_path.iterdir())
