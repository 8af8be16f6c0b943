from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.utils.normalization import check_normalization
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


def test_message_mends_it():
    wrong = model(mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(UserError) as info:
        check_normalization(wrong)
    settings = eval(f'dict({str(info.value).split("set ")[1]})')
    check_normalization(model(**settings))
    assert torch.equal(wrong.data_preprocessor.mean, torch.zeros(3, 1, 1))
