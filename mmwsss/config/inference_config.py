"""The config of a trained model alone: what is needed to apply it, and nothing of its training."""
import copy
import json
from typing import Any

from mmengine.config import Config, ConfigDict

from mmwsss.config.config import backbones_of
from mmwsss.models.backbones import hf_models
from mmwsss.registry import MODELS
from mmwsss.structures.label_file import voc_palette

HEADER = '# A trained model: mmwsss predict takes the folder of this file.\n'


def inference_config(cfg: Config, classes: list[str], is_segmentor: bool) -> Config:
    """Returns a config that applies a model without the files and folders of its training.

    That of a segmentor is one of mmsegmentation's: ``init_model`` and ``MMSegInferencer`` take it as it is. Components
    of mmwsss are named with their scope in it; a saliency-conflict loss, which predictions do not need, is left out.

    Args:
        cfg: The config of the training. Its ``num_classes`` are filled.
        classes: The classes that the model tells apart: of a segmentor with the background.
        is_segmentor: Whether the model gives a class to every pixel.

    Returns:
        A new config with ``model``, ``test_pipeline``, ``test_dataloader``, ``test_cfg`` and ``visualizer``.
    """
    model = copy.deepcopy(cfg.model)
    for path, _ in list(backbones_of(model)):
        _without_files(model, path)
    _drop_keys(model, ('init_cfg', 'pretrained'))
    load = copy.deepcopy(next(step for step in cfg.test_dataloader.dataset.pipeline
                              if step['type'].split('.')[-1] in ('LoadImage', 'LoadImageFromFile')))
    kept = [copy.deepcopy(step) for step in cfg.test_dataloader.dataset.pipeline
            if step['type'].split('.')[-1] not in ('LoadImage', 'LoadImageFromFile', 'LoadMask', 'LoadAnnotations',
                                                   'LoadSaliency')]
    preprocessor = model.get('data_preprocessor') or ConfigDict()
    for key in ('size', 'size_divisor', 'saliency_pad_val'):  # of the batches of the training
        preprocessor.pop(key, None)
    metainfo = dict(classes=list(classes))
    if is_segmentor:
        if preprocessor.get('type') == 'WSSSDataPreProcessor':
            preprocessor.type = 'SegDataPreProcessor'
        _plain_segmentor(model)
        _name_scope(model)
        load['type'] = 'LoadImageFromFile'
        for step in kept:
            step['type'] = 'PackSegInputs' if step['type'] == 'PackWSSSInputs' else _scoped(step['type'])
        metainfo['palette'] = voc_palette(len(classes))
    pipeline = [load, *kept]
    test_cfg = {key: value for key, value in (cfg.get('test_cfg') or {}).items() if key == 'max_side'}
    imports = ['mmwsss', *(cfg.get('custom_imports') or {}).get('imports', ())]
    return Config(dict(
        custom_imports=dict(imports=list(dict.fromkeys(imports)), allow_failed_imports=False),
        default_scope='mmseg' if is_segmentor else cfg.get('default_scope', 'mmwsss'), model=model,
        test_pipeline=pipeline,
        test_dataloader=dict(batch_size=1, dataset=dict(type='BaseSegDataset', metainfo=metainfo,
                                                        pipeline=copy.deepcopy(pipeline))),
        test_cfg=test_cfg,
        visualizer=dict(type='SegLocalVisualizer', name='visualizer')))


def _without_files(model: Any, path: str) -> None:
    """Gives the backbone at a path the settings that it would read from files; a cache of features is taken off."""
    *way, last = path.split('.')[1:]
    parent = model
    for name in way:
        parent = parent[int(name)] if isinstance(parent, (list, tuple)) else parent[name]
    if parent[last].get('type') == 'CachedBackbone':
        parent[last] = parent[last]['backbone']
    backbone = parent[last]
    if backbone.get('type') == 'HFBackbone' and backbone.get('model') is not None:
        settings = hf_models.read_config(backbone.pop('model'), backbone.get('config'))
        backbone['config'] = ConfigDict(json.loads(settings.to_json_string(use_diff=False)))


def _drop_keys(part: Any, keys: tuple[str, ...]) -> None:
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ():
        _drop_keys(child, keys)
    if isinstance(part, dict):
        is_timm = part.get('type', '') in ('TIMMBackbone', 'mmseg.TIMMBackbone')
        for key in keys:
            part.pop(key, None)
        if is_timm:  # whose default it is not
            part['pretrained'] = False


def _plain_segmentor(model: ConfigDict) -> None:
    if model.get('type') == 'SaliencyEncoderDecoder':
        model.type = 'EncoderDecoder'
    heads = [model.get('decode_head'), *_listed(model.get('auxiliary_head'))]
    for head in filter(None, heads):
        if any(loss.get('type') == 'SaliencyConflictLoss' for loss in _listed(head.get('loss_decode'))):
            head.loss_decode = ConfigDict(type='CrossEntropyLoss')


def _listed(value: Any) -> list:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _name_scope(part: Any) -> None:
    if isinstance(part, dict) and isinstance(part.get('type'), str):
        part['type'] = _scoped(part['type'])
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, (list, tuple)) else ():
        _name_scope(child)


def _scoped(name: str) -> str:
    MODELS.import_from_location()
    return f'{MODELS.scope}.{name}' if '.' not in name and name in MODELS.module_dict else name
