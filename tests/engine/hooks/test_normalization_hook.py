from types import SimpleNamespace

import pytest
from torch import nn

from mmwsss.engine.hooks import NormalizationHook
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.utils.errors import UserError


def test_it_compares_what_is_loaded():
    model = nn.Module()
    model.backbone = nn.Linear(1, 1)
    model.data_preprocessor = WSSSDataPreProcessor(mean=[0, 0, 0], std=[1, 1, 1])
    runner = SimpleNamespace(model=model)
    NormalizationHook().before_train(runner)
    model.backbone.normalization = SimpleNamespace(mean=(0, 0, 0), std=(1, 1, 1), bgr_to_rgb=False)
    NormalizationHook().before_train(runner)
    model.backbone.normalization.bgr_to_rgb = True
    with pytest.raises(UserError, match=r'set .*bgr_to_rgb=True'):
        NormalizationHook().before_train(runner)
