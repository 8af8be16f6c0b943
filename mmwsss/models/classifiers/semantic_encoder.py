"""The semantic encoder: it learns what the categories of the data look like, as one vector each."""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.models.classifiers.base_cam_model import stack_labels
from mmwsss.models.losses.semantic_loss import category_similarity, present_categories
from mmwsss.registry import MODELS
from mmwsss.structures.maps import resize_maps
from mmwsss.utils.errors import UserError


def random_masks(images: Tensor, grid: int = 4, level: float = 0.45) -> Tensor:
    """Makes a random mask of smooth outline for each image, which leaves a little more than half of it on average.

    Args:
        images: N x 3 x H x W, for shape and type.
        grid: Uniform noise of grid x grid values is made as large as the image.
        level: What is above it is kept.

    Returns:
        N x 1 x H x W, 0 or 1.
    """
    noise = torch.rand(len(images), 1, grid, grid, device=images.device)
    return (resize_maps(noise, tuple(images.shape[-2:])) > level).to(images.dtype)


def waits_for_checkpoint(init_cfg: object) -> bool:
    """Returns whether the ``init_cfg`` of a part of a model leaves the checkpoint to start from open (``None``)."""
    return isinstance(init_cfg, Mapping) and init_cfg.get('checkpoint', '') is None


def check_start(model: nn.Module, *parts: str) -> None:
    """Checks that parts of a model that take the weights of a trained CAM classifier are told which.

    Args:
        model: The model.
        parts: Names of its parts, each with an ``init_cfg``.

    Raises:
        UserError: If the ``init_cfg`` of a part has no checkpoint.
    """
    for part in parts:
        if waits_for_checkpoint(getattr(model, part).init_cfg):
            options = ' '.join(f'model.{name}.init_cfg.checkpoint=FILE' for name in parts)
            raise UserError(f'{type(model).__name__}: starts from a trained CAM classifier; name its checkpoint: '
                            f'--cfg-options {options}')


@MODELS.register_module()
class SemanticEncoder(BaseModel):
    """Finds an embedding of every category in an image, and learns the semantics of the categories.

    A reconstruction of the encoder of SLAMs (https://arxiv.org/abs/2210.12417, whose method section is not public) from
    its abstract and SemFormer's class-aware autoencoder, see configs/slams/README.md. A 1x1 convolution and a rectifier
    turn the features of every position into K = C + 1 embeddings of E channels; their sum over the positions is the
    embedding of a category in the image. Its cosine with the category's learned, rectified semantics says whether the
    category is there (``loss_semantic``). The semantics of a category learn from images that show it only.

    Later it is applied to images with parts painted over. So that these are not new to it, ``mask_prob`` of the
    training images show only what a random smooth mask leaves, and ``blank_images`` of the mean colour, which have no
    category, are added to every batch.

    With ``reconstruction_weight`` a linear decoder must also restore the image from the embeddings of the positions
    (``loss_reconstruction``, mean squared error of the normalised pixels).

    Args:
        backbone: Config of the backbone; returns a tuple of feature maps.
        in_channels: Channels of the feature map.
        num_classes: Number of foreground classes C; the tools fill it in where a config says ``None``.
        in_index: Which of the feature maps to use.
        embed_channels: E.
        embed_bias: Whether the 1x1 convolution has a bias; SemFormer's has none.
        mask_prob: Probability that an image is masked in training, with its label kept.
        blank_images: Blank images added to a training batch.
        loss_semantic: Config of the loss of the cosines; default ``dict(type='SemanticLoss')``.
        reconstruction_weight: Weight of the reconstruction; 0: without decoder.
        patch_size: Pixels of the image that the decoder restores from one position, in each direction; the stride of
            the feature map.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation.

    Raises:
        ValueError: If ``num_classes`` or ``patch_size`` is below 1, or ``reconstruction_weight`` negative.
    """

    def __init__(self, backbone: dict, in_channels: int, num_classes: int, in_index: int = -1,
                 embed_channels: int = 256, embed_bias: bool = False, mask_prob: float = 0.0, blank_images: int = 0,
                 loss_semantic: dict | None = None, reconstruction_weight: float = 0.0, patch_size: int = 16,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        if not 0 <= mask_prob <= 1 or blank_images < 0:
            raise ValueError('SemanticEncoder: mask_prob is in [0, 1] and blank_images not negative; got '
                             f'{mask_prob} and {blank_images}')
        if not num_classes or num_classes < 1 or reconstruction_weight < 0 or patch_size < 1:
            raise ValueError('SemanticEncoder: num_classes and patch_size are at least 1 and reconstruction_weight is '
                             f'not negative; got {num_classes}, {patch_size} and {reconstruction_weight}')
        self.num_classes, self.in_index, self.embed_channels = num_classes, in_index, embed_channels
        self.backbone = MODELS.build(backbone)
        self.mask_prob, self.blank_images = mask_prob, blank_images
        self.embed = nn.Conv2d(in_channels, (num_classes + 1) * embed_channels, 1, bias=embed_bias)
        self.semantics = nn.Embedding(num_classes + 1, embed_channels)
        self.loss_semantic = MODELS.build(loss_semantic or dict(type='SemanticLoss'))
        self.reconstruction_weight, self.patch_size = reconstruction_weight, patch_size
        self.decode = None
        if reconstruction_weight:
            self.decode = nn.Conv2d((num_classes + 1) * embed_channels, 3 * patch_size ** 2, 1)

    def init_weights(self) -> None:
        """Initialises the encoder.

        Raises:
            UserError: If its backbone starts from a trained classifier and the config does not name the checkpoint.
        """
        check_start(self, 'backbone')
        super().init_weights()

    def embed_positions(self, inputs: Tensor) -> Tensor:
        """Returns the embeddings of every position, N x (K * E) x h x w, not negative; inputs are normalised images."""
        return F.relu(self.embed(self.backbone(inputs)[self.in_index]))

    def category_embeddings(self, positions: Tensor) -> Tensor:
        """Sums :meth:`embed_positions` over the positions: N x K x E, float32."""
        return positions.float().sum(dim=(2, 3)).unflatten(1, (self.num_classes + 1, self.embed_channels))

    def similarity(self, inputs: Tensor) -> Tensor:
        """Says how much of every category there is in images.

        Args:
            inputs: N x 3 x H x W normalised images, with gradient if they have one.

        Returns:
            N x K cosines in [0, 1], background first, float32.
        """
        return category_similarity(self.category_embeddings(self.embed_positions(inputs)),
                                   F.relu(self.semantics.weight))

    def reconstruct(self, positions: Tensor, size: tuple[int, int]) -> Tensor:
        """Restores images N x 3 x H x W of a size from :meth:`embed_positions`."""
        patches = F.pixel_shuffle(self.decode(positions), self.patch_size)
        return F.interpolate(patches, tuple(size), mode='bilinear', align_corners=False)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch.

        Args:
            inputs: N x 3 x H x W normalised images.
            data_samples: Their data samples, with ``gt_img_label``.

        Returns:
            ``loss_semantic``, ``loss_reconstruction`` where there is one, and, to look at: ``similarity_present`` and
            ``similarity_absent``, mean cosines of the categories that are in the images and of those that are not.
        """
        present = present_categories(stack_labels(data_samples).to(inputs.device))
        if self.mask_prob:
            hidden = torch.rand(len(inputs), 1, 1, 1, device=inputs.device) < self.mask_prob
            inputs = torch.where(hidden, inputs * random_masks(inputs), inputs)
        if self.blank_images:
            inputs = torch.cat([inputs, torch.zeros_like(inputs[:1]).expand(self.blank_images, -1, -1, -1)])
            present = torch.cat([present, torch.zeros_like(present[:1]).expand(self.blank_images, -1)])
        positions = self.embed_positions(inputs)
        semantics = F.relu(self.semantics.weight)
        semantics = semantics.where(present[..., None] > 0, semantics.detach())
        similarity = category_similarity(self.category_embeddings(positions), semantics)
        losses = dict(loss_semantic=self.loss_semantic(similarity, present))
        if self.decode is not None:
            restored = self.reconstruct(positions, inputs.shape[-2:])
            losses['loss_reconstruction'] = self.reconstruction_weight * F.mse_loss(restored.float(), inputs.float())
        for name, weight in (('similarity_present', present), ('similarity_absent', 1 - present)):
            losses[name] = (weight * similarity.detach()).sum() / weight.sum().clamp(min=1)
        return losses

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """Says which classes are in images.

        Args:
            inputs: N x 3 x H x W normalised images.
            data_samples: Their data samples.

        Returns:
            The data samples with ``pred_img_label`` (LabelData: ``score`` float32 [C], the cosines of the foreground
            classes; ``label`` int64, those above one half).
        """
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        for sample, score in zip(data_samples, self.similarity(inputs)[:, 1:], strict=True):
            sample.pred_img_label = LabelData(label=(score > 0.5).nonzero().flatten(), score=score)
        return data_samples

    def forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None,
                mode: str = 'tensor') -> dict[str, Tensor] | list[SegDataSample] | Tensor:
        """See MMEngine's BaseModel; the mode ``'tensor'`` gives :meth:`similarity`."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.similarity(inputs)
        raise ValueError(f"SemanticEncoder: mode is 'loss', 'predict' or 'tensor', got {mode!r}")
