import pytest
import torch

from mmwsss.inference.ten_crop import ten_crops, whole_image


def test_ten_crops():
    images = torch.arange(2 * 3 * 5 * 6.).view(2, 3, 5, 6)
    crops = ten_crops(images, 3)
    assert crops.shape == (10, 2, 3, 3, 3)
    for crop, (y, x) in zip(crops, [(0, 0), (0, 3), (2, 0), (2, 3), (1, 2)]):
        assert torch.equal(crop, images[:, :, y:y + 3, x:x + 3])
    assert torch.equal(crops[5:], crops[:5].flip(-1))
    assert torch.equal(ten_crops(images[..., :5], 5)[4], images[..., :5])
    with pytest.raises(ValueError, match='crops of 6 pixels do not fit into images of 5 x 6'):
        ten_crops(images, 6)


def test_whole_image():
    image = torch.rand(1, 3, 8, 8)
    assert whole_image(image, 8) is image
    assert whole_image(torch.full((1, 3, 8, 6), 2.), 4).eq(2).all()
