import contextlib

import pytest
from hf_toy import CONFIGS, need_transformers

from mmwsss.models.backbones import hf_models
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

transformers = need_transformers()


@pytest.mark.parametrize('enabled', [True, False])
@pytest.mark.parametrize('hub_enabled', [True, False])
def test_weights_are_loaded_without_a_progress_bar(tmp_path, capsys, monkeypatch, enabled, hub_enabled):
    from huggingface_hub import utils as hub
    from transformers.utils import logging
    monkeypatch.setattr(logging, '_tqdm_active', enabled)
    was_disabled = hub.are_progress_bars_disabled()
    set_hub = hub.enable_progress_bars if hub_enabled else hub.disable_progress_bars
    config = dict(CONFIGS['vit'])
    transformers.ViTModel(transformers.CONFIG_MAPPING[config.pop('model_type')](**config)).save_pretrained(tmp_path)
    model = MODELS.build(dict(type='HFBackbone', model=str(tmp_path)))
    capsys.readouterr()
    try:
        set_hub()
        model.init_weights()
        assert 'Loading weights' not in capsys.readouterr().err
        assert logging.is_progress_bar_enabled() == enabled and hub.are_progress_bars_disabled() != hub_enabled
    finally:
        (hub.disable_progress_bars if was_disabled else hub.enable_progress_bars)()


@pytest.mark.parametrize('error', [None, UserError('x')])
def test_only_the_bar_of_loading_is_switched_off(monkeypatch, error):
    from huggingface_hub import utils as hub
    from transformers.utils import logging
    monkeypatch.setattr(logging, '_tqdm_active', True)
    was_disabled = hub.are_progress_bars_disabled()
    with contextlib.suppress(UserError), hf_models.without_progress_bar():
        assert not logging.is_progress_bar_enabled() and hub.are_progress_bars_disabled() == was_disabled
        if error:
            raise error
    assert logging.is_progress_bar_enabled() and hub.are_progress_bars_disabled() == was_disabled
