"""What a CAM function returns."""
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from mmwsss.structures.feature_maps import AttentionMaps


@dataclass
class CAMOutput:
    """The result of a CAM function for a batch.

    Attributes:
        cam: N x C x h x w, non-negative class activation maps of the C foreground classes.
        logits: N x C, classification scores before the sigmoid.
        feats: Feature maps by stage name. Empty when the maps do not belong to the input as it
            was given (a hook that crops or rescales drops them).
        attentions: Self-attention of a transformer's blocks, where the backbone was asked for it; ``None`` elsewhere,
            and where ``feats`` is empty.
    """
    cam: Tensor
    logits: Tensor
    feats: dict[str, Tensor] = field(default_factory=dict)
    attentions: AttentionMaps | None = None


# (inputs N x 3 x H x W, labels N x C or None) -> CAMOutput
CAMFunction = Callable[[Tensor, Tensor | None], CAMOutput]
