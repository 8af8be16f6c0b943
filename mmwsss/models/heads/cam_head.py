"""The CAM head: a 1x1 convolution whose output is at once class map and class score."""
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


def global_average_pool(maps: Tensor) -> Tensor:
    """Averages maps over their positions.

    Args:
        maps: N x C x h x w.

    Returns:
        N x C in float32 (half precision loses the small differences between many positions).
    """
    return maps.float().mean(dim=(2, 3))


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss of image-level scores.

    ``-mean_{n,c} [ y log sigmoid(x) + (1 - y) log sigmoid(-x) ]``, the mean over images and
    classes.

    Args:
        logits: N x C scores before the sigmoid.
        labels: N x C multi-hot, 0 or 1.

    Returns:
        A scalar.
    """
    return F.multilabel_soft_margin_loss(logits.float(), labels.float())


@MODELS.register_module()
class CAMHead(BaseModule):
    """1x1 convolution, by default without bias, then global average pooling.

    Without a bias the convolution and the pooling commute, so the map before the pooling is
    the class activation map of "Learning Deep Features for Discriminative Localization"
    (CVPR 2016), and the score of a class is the mean of its map.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of foreground classes C. The tools fill it in from the class list of the
            data when a config says ``None``.
        in_index: Which of the backbone's (or neck's) feature maps to use.
        dropout_ratio: Probability of dropping a whole channel of the features in training.
        bias: Whether the convolution has a bias, as the last layer of a pretrained classifier does. It is the same at
            every position, so that the score stays the mean of the map.
        init_cfg: Initialisation; default normal with standard deviation 0.01.
    """

    def __init__(self, in_channels: int, num_classes: int, in_index: int = -1,
                 dropout_ratio: float = 0.0, bias: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=dict(name='conv_cam')))
        if not num_classes or num_classes < 1:
            raise ValueError(f'CAMHead needs num_classes >= 1, got {num_classes}; the tools set it '
                             'from the class list of the data root')
        self.num_classes = num_classes
        self.in_index = in_index
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_cam = nn.Conv2d(in_channels, num_classes, 1, bias=bias)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Computes the class maps.

        Args:
            feats: Feature maps; the one at ``in_index`` is used, N x in_channels x h x w.

        Returns:
            N x C x h x w, not rectified: the mean of a map is the score of its class.
        """
        return self.conv_cam(self.dropout(feats[self.in_index]))

    def pool(self, maps: Tensor) -> Tensor:
        """Turns class maps N x C x h x w into the scores N x C of the classes: their means."""
        return global_average_pool(maps)

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Computes the classification loss of class maps N x C x h x w, not rectified; labels are N x C multi-hot."""
        return classification_loss(self.pool(maps), labels)

    def loss(self, feats: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        """Computes the classification loss of a batch.

        Args:
            feats: Feature maps as for :meth:`forward`.
            labels: N x C multi-hot.

        Returns:
            ``loss_cls``, a scalar.
        """
        return dict(loss_cls=self.loss_by_maps(self(feats), labels))
