from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.utils.normalization import check_normalization, stated_images
from mmwsss.utils.errors import UserError

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


IMAGENET = SimpleNamespace(mean=MEAN, std=STD)


def model(normalization=IMAGENET, **preprocessor):
    model = nn.Module()
    model.backbone = nn.Linear(1, 1)
    model.backbone.normalization = normalization
    if preprocessor:
        model.data_preprocessor = WSSSDataPreProcessor(**preprocessor)
    return model


def test_fits():
    check_normalization(model(mean=MEAN, std=STD, bgr_to_rgb=True))
    check_normalization(model(mean=[124, 116, 104], std=[58, 57, 57], bgr_to_rgb=True))  # rounded
    check_normalization(model(normalization=None, mean=[0, 0, 0], std=[1, 1, 1]))
    check_normalization(model())
    check_normalization(nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize('preprocessor', [
    dict(mean=[127, 127, 127], std=[128, 128, 128], bgr_to_rgb=True), dict(mean=MEAN, std=[1, 1, 1], bgr_to_rgb=True),
    dict(mean=MEAN, std=STD), dict(mean=MEAN[::-1], std=STD[::-1]), dict(bgr_to_rgb=True)])
def test_differs(preprocessor):
    with pytest.raises(UserError, match=r'backbone was trained with other images; set mean=\[123.675, 116.28, 103.53\]'
                                        r', std=\[58.395, 57.12, 57.375\], bgr_to_rgb=True') as info:
        check_normalization(model(**preprocessor))
    assert '\n' not in str(info.value)


RGB_FILE = stated_images(dict(meta=dict(images=dict(mean=MEAN, std=STD, bgr_to_rgb=True))), 'a.pth')
BGR_FILE = stated_images(dict(meta=dict(images=dict(mean=MEAN[::-1], std=STD[::-1], bgr_to_rgb=False))), 'b.pth')


def test_what_files_say_in_either_order():
    assert RGB_FILE.mean == BGR_FILE.mean == MEAN and RGB_FILE.std == BGR_FILE.std == STD  # of RGB values
    rgb, bgr = dict(mean=MEAN, std=STD, bgr_to_rgb=True), dict(mean=MEAN[::-1], std=STD[::-1])
    check_normalization(model(RGB_FILE, **rgb))
    check_normalization(model(BGR_FILE, **bgr))
    check_normalization(model(BGR_FILE, mean=[104, 116, 124], std=[57, 57, 58]))  # rounded
    for wrong, words in (
            (model(RGB_FILE, **bgr), 'has the weights of a.pth, which are for RGB images; set mean=[123.675, 116.28, '
             '103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True'),
            (model(BGR_FILE, **rgb), 'has the weights of b.pth, which are for BGR images; set mean=[103.53, 116.28, '
             '123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False'),
            (model(BGR_FILE, mean=MEAN, std=STD), 'which are for other BGR images; set mean=[103.53')):
        with pytest.raises(UserError) as info:
            check_normalization(wrong)
        assert words in str(info.value) and '\n' not in str(info.value)


@pytest.mark.parametrize('images', [
    None, 7, {}, dict(mean=MEAN, std=STD), dict(mean=MEAN, bgr_to_rgb=True), dict(mean=MEAN, std=1, bgr_to_rgb=True),
    dict(mean=MEAN, std=['a'] * 3, bgr_to_rgb=True), dict(mean=MEAN[:1], std=STD[:1], bgr_to_rgb=True)])
def test_files_that_say_nothing(images):
    for checkpoint in (dict(meta=dict(images=images)), dict(meta=images), images):
        assert stated_images(checkpoint, 'a.pth') is None


@pytest.mark.parametrize('images', [IMAGENET, RGB_FILE, BGR_FILE])
def test_message_mends_it(images):
    wrong = model(images, mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(UserError) as info:
        check_normalization(wrong)
    settings = eval(f'dict({str(info.value).split("set ")[1]})')
    check_normalization(model(images, **settings))
    assert torch.equal(wrong.data_preprocessor.mean, torch.zeros(3, 1, 1))
