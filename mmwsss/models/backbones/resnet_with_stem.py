"""mmsegmentation's ResNet, whose stem is a feature map too."""
from mmseg.models.backbones import ResNet
from torch import Tensor

from mmwsss.registry import MODELS


@MODELS.register_module()
class ResNetWithStem(ResNet):
    """A ResNet that also returns the output of its stem, after the max-pooling: stride 4, like that of its first stage.

    IRNet looks at it for the finest edges. Arguments and keys of the state dict are those of mmsegmentation's
    ``ResNet``.

    Example:
        >>> model = ResNetWithStem(depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))
        >>> [tuple(feat.shape) for feat in model(torch.rand(1, 3, 32, 48))]
        [(1, 64, 8, 12), (1, 256, 8, 12), (1, 512, 4, 6), (1, 1024, 2, 3), (1, 2048, 2, 3)]
    """

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps.

        Args:
            x: N x 3 x H x W images, normalised.

        Returns:
            The stem's, then those of the stages in ``out_indices``.
        """
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        feats = [x]
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                feats.append(x)
        return tuple(feats)
