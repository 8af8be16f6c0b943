"""A frozen backbone that computes the features of an image once."""
import os
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.inference.external_features import halve, weights_digest
from mmwsss.registry import MODELS
from mmwsss.structures.feature_cache import FeatureCache, image_digest
from mmwsss.utils.autocast import no_autocast


@MODELS.register_module()
class CachedBackbone(BaseModule):
    """A frozen backbone whose features are kept on disk, in half precision, by the content of the image.

    From the second epoch on a training is one of the heads alone. It is for pipelines without a random view: no random
    size, crop or flip, or every image would be a new one each time. :class:`mmwsss.engine.hooks.FixedViewHook` in
    ``custom_hooks`` refuses such a training. ::

        backbone=dict(type='CachedBackbone', cache_dir='work_dirs/features',
                      backbone=dict(type='HFBackbone', model='facebook/dinov2-small'))

    An image is computed by itself, and its features are rounded to half precision whether or not they come from the
    disk: they do not depend on the batch, nor on what was computed before.

    Args:
        backbone: Config of the backbone, with its weights. It gets no gradient and stays in eval mode.
        cache_dir: Folder of the features, see :class:`mmwsss.structures.feature_cache.FeatureCache`.
        init_cfg: Must be empty: the backbone has its own.
    """

    def __init__(self, backbone: dict[str, Any], cache_dir: str | os.PathLike, init_cfg: None = None) -> None:
        super().__init__(init_cfg)
        if init_cfg is not None:
            raise ValueError(f'CachedBackbone: weights are named in backbone.init_cfg, got init_cfg={init_cfg}')
        self.config = {key: value for key, value in backbone.items() if key != 'init_cfg'}
        self.backbone = MODELS.build(backbone)
        self.backbone.eval().requires_grad_(False)
        self.cache_dir = cache_dir
        self.cache: FeatureCache | None = None
        # Other weights, other features.
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, 'cache', None))

    def init_weights(self) -> None:
        """Initialises the backbone."""
        super().init_weights()
        self.cache = None

    def train(self, mode: bool = True) -> 'CachedBackbone':
        """Sets the training mode of this module; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the features of images.

        Args:
            inputs: N x 3 x H x W normalised images.

        Returns:
            The backbone's maps, each N x K x h x w, float32 values that half precision can hold; without gradient.

        Raises:
            UserError: If the backbone gives something else, or values that are not finite in half precision.
        """
        if self.cache is None:
            self.cache = FeatureCache(self.cache_dir, dict(backbone=self.config, weights=weights_digest(self.backbone)))
        images = [self._features_of(image) for image in inputs]
        return tuple(torch.stack([feats[name].to(inputs.device).float() for feats in images]) for name in images[0])

    def _features_of(self, image: Tensor) -> dict[str, Tensor]:
        digest = image_digest(image.float())
        feats = self.cache.read(digest)
        if feats is None:
            with no_autocast(image.device):
                feats = halve(self.backbone(image[None].float()), self.config.get('type'))
            self.cache.write(digest, feats)
        return feats


def cached_modules(model: nn.Module) -> set[nn.Module]:
    """Returns the modules of a model whose weights tell the features on disk, and must stay to the last bit."""
    return {module for cached in model.modules() if isinstance(cached, CachedBackbone)
            for module in cached.backbone.modules()}
