"""Features of a second, frozen network for the hooks that refine a CAM along features."""
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from torch import Tensor, nn

from mmwsss.inference.base import InferenceHook
from mmwsss.inference.self_affinity import SelfAffinityHook
from mmwsss.registry import INFERENCE_HOOKS, MODELS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.feature_cache import FeatureCache, image_digest
from mmwsss.utils.autocast import no_autocast
from mmwsss.utils.errors import UserError

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def to_pixels(inputs: Tensor, preprocessor: BaseDataPreprocessor) -> Tensor:
    """Undoes the normalisation of a data preprocessor.

    Args:
        inputs: N x 3 x H x W, as a model gets them: images that were read as BGR, normalised, and maybe with their
            channels in the other order.
        preprocessor: The preprocessor that normalised them. Without a mean the values are not normalised.

    Returns:
        uint8 N x 3 x H x W, RGB. Views that were rescaled are rounded.
    """
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = (value.view(-1, 1, 1).to(inputs) for value in (preprocessor.mean, preprocessor.std))
        inputs = inputs * std + mean
    pixels = inputs.round().clamp(0, 255).to(torch.uint8)
    return pixels if getattr(preprocessor, '_channel_conversion', False) else pixels.flip(1)


def network_size(size: tuple[int, int], long_side: int | None, divisor: int) -> tuple[int, int]:
    """Returns the size (H, W) nearest to an image's shape whose sides are multiples of ``divisor``.

    Args:
        size: (H, W) of the image.
        long_side: The long side to scale to, ``None`` to stay at the image's own.
        divisor: Of both sides, which are at least that.
    """
    scale = 1 if long_side is None else long_side / max(size)
    return tuple(max(1, round(side * scale / divisor)) * divisor for side in size)


def weights_digest(module: nn.Module) -> str:
    """Returns the hex sha256 of the names and values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def halve(feats: Sequence[Tensor], name: str | None) -> dict[str, Tensor]:
    """Rounds a backbone's maps of one image to half precision.

    Args:
        feats: Maps 1 x K x h x w.
        name: The backbone, for errors.

    Returns:
        float16 K x h x w by names ``'0'``, ``'1'``, ...

    Raises:
        UserError: If they are no maps, or not finite in half precision.
    """
    if not isinstance(feats, (tuple, list)) or not all(isinstance(f, Tensor) and f.dim() == 4 for f in feats):
        raise UserError(f'{name}: must return a tuple of feature maps N x K x h x w, to be used frozen')
    halves = {str(i): feat[0].half() for i, feat in enumerate(feats)}
    if not all(feat.isfinite().all() for feat in halves.values()):
        raise UserError(f'{name}: gives features that half precision cannot hold; take other stages, or check its '
                        'weights and the normalisation of its input')
    return halves


class FrozenNetwork:
    """A frozen backbone that gives the features of 8-bit images, one image at a time, and keeps them on disk.

    One at a time, and in half precision whether or not they come from the disk: the features of an image then depend
    on the image alone, not on its batch, nor on what was computed before. The backbone is built when it is first asked.

    Args:
        backbone: Config of the backbone, with its weights (``init_cfg``, or as the backbone has it). It returns a
            tuple of feature maps.
        long_side: See :func:`network_size`.
        divisor: See there. Default: the backbone's ``size_divisor``, if it has one (a transformer's patch size), or 1.
        mean: Mean of the channels in 0..255, in the order that the backbone takes (RGB unless ``bgr``). Default: what
            the backbone states as its ``normalization`` (:class:`mmwsss.models.HFBackbone`), or ImageNet's.
        std: Standard deviation, likewise. Given both or neither.
        bgr: Whether the backbone takes BGR. If the file of its weights tells, it must say the same.
        amp: ``'bfloat16'``, ``'float16'`` (GPUs), or ``None`` for full precision.
        cache_dir: Folder for the features, see :class:`mmwsss.structures.feature_cache.FeatureCache`; ``None`` keeps
            none.

    Raises:
        ValueError: For a size or precision that is not possible.
    """

    def __init__(self, backbone: Mapping[str, Any], long_side: int | None = None, divisor: int | None = None,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None, bgr: bool = False,
                 amp: str | None = None, cache_dir: str | os.PathLike | None = None) -> None:
        for name, value in (('long_side', long_side), ('divisor', divisor)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f'{name} must be a whole number, at least 1, got {value!r}')
        if (mean is None) != (std is None) or (mean is not None and (
                len(mean) != 3 or len(std) != 3 or min(std) <= 0)):
            raise ValueError(f'mean and std are three numbers each, std above 0, or both are left out; got {mean} and '
                             f'{std}')
        if amp is not None and amp not in DTYPES:
            raise ValueError(f'amp is one of {tuple(DTYPES)} or None, got {amp!r}')
        self.config = dict(backbone)
        self.long_side, self.divisor, self.mean, self.std = long_side, divisor, mean, std
        self.bgr, self.amp = bgr, amp
        self.cache_dir = cache_dir
        self.network: nn.Module | None = None
        self.cache: FeatureCache | None = None

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """Returns the features of images of one size.

        Args:
            pixels: uint8 N x 3 x H x W, RGB.

        Returns:
            By names ``'0'``, ``'1'``, ... in the backbone's order, N x K x h x w, float32 values that half precision
            can hold.

        Raises:
            UserError: If the backbone does not return feature maps, or values that are not finite in half precision.
        """
        if self.network is None:
            self._build(pixels.device)
        images = [self._features_of(image) for image in pixels]
        # Cast first: autocast does not know how to stack float16 on a CPU.
        return {name: torch.stack([feats[name].to(pixels.device).float() for feats in images]) for name in images[0]}

    def _build(self, device: torch.device) -> None:
        network = MODELS.build(dict(self.config))
        if hasattr(network, 'init_weights'):
            network.init_weights()
        self.network = network.eval().requires_grad_(False)
        if self.divisor is None:
            self.divisor = getattr(network, 'size_divisor', 1)
        known = getattr(network, 'normalization', None)
        takes_rgb = getattr(known, 'bgr_to_rgb', None)
        if takes_rgb is not None and takes_rgb == self.bgr:
            raise UserError(f'bgr={self.bgr}: {known.file} has weights for images in the other order of channels; set '
                            f'bgr={not self.bgr}')
        if self.mean is None:
            self.mean, self.std = (known.mean, known.std) if known else (IMAGENET_MEAN, IMAGENET_STD)
            if self.bgr:  # they are stated for RGB
                self.mean, self.std = self.mean[::-1], self.std[::-1]
        if self.cache_dir is not None:
            settings = {key: value for key, value in self.config.items() if key != 'init_cfg'}
            self.cache = FeatureCache(self.cache_dir, dict(
                backbone=settings, weights=weights_digest(network), long_side=self.long_side, divisor=self.divisor,
                mean=list(self.mean), std=list(self.std), bgr=self.bgr, amp=self.amp))
        self.network.to(device)

    def _features_of(self, image: Tensor) -> dict[str, Tensor]:
        if self.cache is None:
            return self._compute(image)
        digest = image_digest(image)
        feats = self.cache.read(digest)
        if feats is None:
            feats = self._compute(image)
            self.cache.write(digest, feats)
        return feats

    @torch.no_grad()
    def _compute(self, image: Tensor) -> dict[str, Tensor]:
        size = network_size(image.shape[-2:], self.long_side, self.divisor)
        with no_autocast(image.device):
            inputs = image[None].float()
            if size != tuple(image.shape[-2:]):
                inputs = F.interpolate(inputs, size=size, mode='bilinear', align_corners=False, antialias=True)
            inputs = inputs.flip(1) if self.bgr else inputs
            mean, std = (inputs.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.std))
            inputs = (inputs - mean) / std
            with torch.autocast(image.device.type, DTYPES.get(self.amp), enabled=self.amp is not None):
                feats = self.network(inputs)
        return halve(feats, self.config.get('type'))


@INFERENCE_HOOKS.register_module()
class ExternalFeatures(InferenceHook):
    """Refines a CAM along the features of a second, frozen network.

    A classifier's features tell its classes apart and little else. A network that was trained on many images without
    labels knows better which parts of an image belong together, and any CAM can be spread along that. Nothing is
    trained. ::

        inference_hooks=[
            dict(type='ExternalFeatures', backbone=dict(type='HFBackbone', model='dinov2-small'), long_side=336,
                 hook=dict(type='SSA', stages='0', num_blocks=1, power=4)),
            dict(type='MultiScaleFlip', scales=(0.5, 1.0, 1.5, 2.0))]

    It may stand anywhere among the hooks. Outermost, the features are computed once an image; inside of
    :class:`MultiScaleFlip` for every view. The images of a batch are computed one at a time, so that the features do
    not depend on the batch.

    The second network sees the image in 8 bit, as it was before the model's data preprocessor normalised it, resized
    and normalised anew.

    Args:
        backbone: Config of the second network, with its weights; a backbone that returns a tuple of feature maps.
        hook: Config of :class:`SSA` or :class:`SCG`; its ``stages`` are those of the second network: ``'0'`` is
            the first map that it returns.
        **network: ``long_side``, ``divisor``, ``mean``, ``std``, ``bgr``, ``amp``, ``cache_dir``: see
            :class:`FrozenNetwork`.

    Raises:
        ValueError: If ``hook`` is another hook, or an option is not possible.
    """

    def __init__(self, backbone: Mapping[str, Any], hook: Mapping[str, Any], **network: Any) -> None:
        self.hook = INFERENCE_HOOKS.build(dict(hook))
        if not isinstance(self.hook, SelfAffinityHook):
            raise ValueError(f'ExternalFeatures: hook must be one that refines a CAM along features, such as SSA or '
                             f'SCG, got {hook.get("type")}')
        try:
            self.network = FrozenNetwork(backbone, **network)
        except ValueError as error:
            raise ValueError(f'ExternalFeatures: {error}') from error
        self.preprocessor: BaseDataPreprocessor | None = None

    def bind(self, preprocessor: BaseDataPreprocessor) -> None:
        """See :meth:`InferenceHook.bind`."""
        self.preprocessor = preprocessor

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`; scores and features are those of ``cam_function``.

        Raises:
            RuntimeError: If it is not known how the images were normalised, see :meth:`InferenceHook.bind`.
        """
        # A model inside of another has none of its own, and its images would be taken for pixels.
        if not isinstance(self.preprocessor, ImgDataPreprocessor):
            raise RuntimeError('ExternalFeatures: bind(data_preprocessor) must tell how the images were normalised; a '
                               'model with a data preprocessor calls it for its hooks: list the hook there')
        output = cam_function(inputs, labels)
        feats = self.network(to_pixels(inputs, self.preprocessor))
        refined = self.hook(lambda *_: CAMOutput(output.cam, output.logits, feats), inputs, labels)
        return CAMOutput(refined.cam, output.logits, output.feats)
