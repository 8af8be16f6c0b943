"""A CAM head whose convolution holds text embeddings: classes are what their names say (CLIP-ES)."""
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.models.heads.cam_head import classification_loss, global_average_pool
from mmwsss.registry import MODELS
from mmwsss.utils.autocast import no_autocast
from mmwsss.utils.errors import UserError

SOURCES = ('patch', 'token')
# Keeps the log-odds of a class finite.
EPS = 1e-6


def text_similarity(feats: Tensor, embeddings: Tensor, scale: float) -> Tensor:
    """Computes scaled cosines of features and text embeddings, as CLIP compares an image with texts.

    Args:
        feats: N x D x h x w.
        embeddings: K x D; only their directions count.
        scale: CLIP's temperature: what cosines are multiplied by.

    Returns:
        N x K x h x w, float32.
    """
    weight = F.normalize(embeddings.float(), dim=1)
    with no_autocast(feats.device):
        return scale * F.conv2d(F.normalize(feats.float(), dim=1), weight[:, :, None, None])


def log_odds(similarity: Tensor) -> Tensor:
    """Computes the log-odds of every text against all others: ``s_k - log sum_{j != k} exp s_j``.

    In this form it is finite, and has a gradient, where the softmax is 0 or 1 in float32.

    Args:
        similarity: N x K x h x w.

    Returns:
        N x K x h x w, whose sigmoid is the softmax over the texts.
    """
    count = similarity.shape[1]
    itself = torch.eye(count, dtype=torch.bool, device=similarity.device)[None, :, :, None, None]
    others = similarity[:, None].masked_fill(itself, -torch.inf)  # N x K x K x h x w
    return similarity - others.logsumexp(dim=2)


def read_embeddings(path: str | os.PathLike) -> Tensor:
    """Reads text embeddings.

    Args:
        path: ``.npy`` file of floats, K x D, made by :func:`mmwsss.converters.text_embeddings.make_text_embeddings`.

    Returns:
        K x D, float32.

    Raises:
        UserError: If the file is missing, broken, or holds something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f'{path}: no such file of text embeddings; make one with `mmwsss convert text-embeddings`')
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f'{path}: cannot be read as text embeddings ({error}); make it anew') from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != 'f' or not np.isfinite(
            values).all() or not np.abs(values).sum(axis=1).all():
        raise UserError(f'{path}: is no array of finite floats, one row that is not zero for every text; make it anew')
    return torch.from_numpy(values.astype(np.float32))


@MODELS.register_module()
class TextCAMHead(BaseModule):
    """Class maps from the similarity of features and texts.

    `CLIP is Also an Efficient Segmenter <https://arxiv.org/abs/2212.09506>`_ (CLIP-ES). The features are CLIP's, in the
    space of its texts: ``HFBackbone(model=..., project=True)``. The rows of a 1x1 convolution are the embeddings of the
    C class names, then those of prompts for the background (sea, tree, ...), which compete with them in the softmax. By
    default nothing is trained.

    Patches of a pretrained CLIP are poorly aligned with texts; its class token is well. ``source='token'`` gives scores
    (log-odds) of the class token as maps of one position, for a gradient CAM of an earlier stage. That is CLIP-ES::

        backbone=dict(type='HFBackbone', model=CLIP, project=True, final_norm=False, out_indices=(-2, -1),
                      attention_blocks=8),
        cam_head=dict(type='TextCAMHead', embeddings='voc.npy', num_classes=None, source='token'),
        cam_provider=dict(type='GradCAM', stage='0'),
        inference_hooks=[dict(type='AttentionRefinement', sinkhorn=3, symmetric=True, times=2)]

    Args:
        num_classes: Number of foreground classes C; the tools fill it in where a config says ``None``.
        embeddings: ``.npy`` file with at least C rows, see :func:`read_embeddings`; ``None`` for a model whose
            checkpoint brings them, which needs ``in_channels`` and ``num_background``.
        in_channels: Channels of the feature map; read from the file.
        num_background: Number of prompts for the background; read from the file.
        in_index: Which feature map to use.
        source: ``'patch'``: the feature map. ``'token'``: the first special token of the backbone.
        scale: CLIP's temperature (100 after its training).
        softmax: Maps are probabilities among all texts, and scores their log-odds; ``False``: scaled cosines.
        trainable: Whether the embeddings are trained on.

    Raises:
        UserError: If the file cannot be read or has fewer rows than classes.
        ValueError: For an unknown ``source``, without both embeddings and their shape, or for a softmax over one text.
    """

    def __init__(self, num_classes: int, embeddings: str | None = None, in_channels: int | None = None,
                 num_background: int | None = None, in_index: int = -1, source: str = 'patch', scale: float = 100.0,
                 softmax: bool = True, trainable: bool = False) -> None:
        super().__init__()
        if not num_classes or num_classes < 1:
            raise ValueError(f'TextCAMHead needs num_classes >= 1, got {num_classes}; the tools set it from the class '
                             'list of the data root')
        if source not in SOURCES:
            raise ValueError(f'TextCAMHead: source is one of {SOURCES}, got {source!r}')
        if embeddings is None:
            if in_channels is None:
                raise ValueError('TextCAMHead needs embeddings, a file; or in_channels and num_background')
            weight = torch.randn(num_classes + (num_background or 0), in_channels)
        else:
            weight = read_embeddings(embeddings)
            self._check_shape(embeddings, weight, num_classes, in_channels, num_background)
        if softmax and len(weight) < 2:
            raise ValueError('TextCAMHead: the softmax over one text is always 1; add prompts for the background, or '
                             'set softmax=False')
        self.num_classes, self.in_index, self.source = num_classes, in_index, source
        self.scale, self.softmax = scale, softmax
        self.conv_cam = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
        with torch.no_grad():
            self.conv_cam.weight.copy_(F.normalize(weight, dim=1)[:, :, None, None])
        self.conv_cam.requires_grad_(trainable)

    @staticmethod
    def _check_shape(path: str, weight: Tensor, num_classes: int, in_channels: int | None,
                     num_background: int | None) -> None:
        rows, channels = weight.shape
        if rows < num_classes or (num_background is not None and rows != num_classes + num_background):
            raise UserError(f'{path}: has {rows} text embeddings, but there are {num_classes} classes and '
                            f'{num_background or 0} background prompts; make it for the class list of the data')
        if in_channels is not None and channels != in_channels:
            raise UserError(f'{path}: its embeddings have {channels} channels, in_channels is {in_channels}; make it '
                            'with the text model that belongs to the backbone')

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Computes the class maps.

        Args:
            feats: Feature maps; the one at ``in_index`` is used, N x in_channels x h x w; or their ``tokens``.

        Returns:
            N x C x h x w: probabilities; for ``source='token'`` N x C x 1 x 1 log-odds; without ``softmax`` scaled
            cosines.

        Raises:
            UserError: If the backbone gives no tokens, or the channels are not those of the texts.
        """
        if self.source == 'token':
            tokens = getattr(feats, 'tokens', None)
            if tokens is None:
                raise UserError("TextCAMHead: source='token', but the backbone gives no class token; use HFBackbone "
                                "with a CLIP, or source='patch'")
            feat = tokens[:, 0, :, None, None]
        else:
            feat = feats[self.in_index]
        if feat.shape[1] != self.conv_cam.in_channels:
            raise UserError(f'TextCAMHead: the features have {feat.shape[1]} channels, the text embeddings '
                            f'{self.conv_cam.in_channels}; HFBackbone needs project=True and the CLIP of the texts')
        maps = text_similarity(feat, self.conv_cam.weight.flatten(1), self.scale)
        if self.softmax:
            maps = log_odds(maps) if self.source == 'token' else maps.softmax(dim=1)
        return maps[:, :self.num_classes]

    def pool(self, maps: Tensor) -> Tensor:
        """Turns class maps N x C x h x w into scores N x C before the sigmoid: of probabilities the log-odds."""
        mean = global_average_pool(maps)
        return torch.logit(mean, eps=EPS) if self.softmax and self.source == 'patch' else mean

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Computes the classification loss of class maps N x C x h x w; labels are N x C multi-hot."""
        return classification_loss(self.pool(maps), labels)

    def loss(self, feats: tuple[Tensor, ...], labels: Tensor) -> dict[str, Tensor]:
        """Computes the classification loss of a batch, ``loss_cls``; see :meth:`forward` and :meth:`loss_by_maps`."""
        return dict(loss_cls=self.loss_by_maps(self(feats), labels))
