"""A CAM provider: makes the CAM in the model's place, inside of all hooks."""
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference import CAMProvider
from mmwsss.models import BaseCAMModel
from mmwsss.registry import CAM_PROVIDERS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import max_normalize, resize_maps


def weight_maps(maps: Tensor, feats: Tensor) -> Tensor:
    """Weights rectified class maps by how strong the features are at each position.

    Args:
        maps: N x C x h x w class maps.
        feats: N x D x h' x w' features.

    Returns:
        N x C x h x w, at least 0: maps times the norm of the features over its maximum in the image.
    """
    strength = max_normalize(feats.float().norm(dim=1, keepdim=True))
    return F.relu(maps.float()) * resize_maps(strength, maps.shape[-2:])


@CAM_PROVIDERS.register_module()
class FeatureWeightedCAM(CAMProvider):
    """Class maps weighted by the strength of the last features, see :func:`weight_maps`."""

    def __call__(self, model: BaseCAMModel, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`CAMProvider.__call__`."""
        maps, feats = model.forward_maps(inputs)
        return CAMOutput(cam=weight_maps(maps, feats[-1]), logits=model.pool(maps))
