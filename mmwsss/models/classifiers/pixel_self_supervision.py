"""Pixel-level self-supervision: a CAM model that learns from its own moving average."""
import copy
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_params
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, stack_labels
from mmwsss.models.losses.multi_scale_attention_loss import multi_scale_cam
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import grid_size, max_normalize, rescale_images, resize_maps

SUPPORTS = ('ema', 'shared')


def normalized_cam(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Turns class maps into CAMs as predictions do: rectified, resized, divided by the maximum (section 3.1).

    Args:
        maps: N x C x h x w class maps, not rectified.
        size: (H, W) of the result.

    Returns:
        N x C x H x W in [0, 1], float32, with gradient.
    """
    return max_normalize(resize_maps(F.relu(maps), size))


@MODELS.register_module()
class PixelSelfSupervision(BaseCAMModel):
    """MainNet F, which is trained, and SupportNet G, its moving average, which supervises it pixel by pixel.

    "Exploring Pixel-level Self-supervision for Weakly Supervised Semantic Segmentation"
    (https://arxiv.org/abs/2112.05351). The image at the ratios s, m, l = 0.5, 1, 2 goes through both networks, which
    give features X and class maps A. All X and A are resized to one size, that of the image at ratio 1, and the CAMs
    are normalised. The losses are (eq. 9)

    - ``loss_cls``: classification by MainNet. The paper calls it the loss of "the image-level class prediction" and
      names no scale: it is that of the image itself, ratio 1, as in the baseline;
    - ``loss_rcm``: the features of MainNet at ratio 1 against the prototypes of the regions that SupportNet's
      multi-scale CAM shows (:class:`mmwsss.models.losses.RCM`);
    - ``loss_mam``: MainNet's CAMs against SupportNet's of all ratios (:class:`mmwsss.models.losses.MAM`).

    What no loss needs is not computed: unless RCM or MAM has a weight above zero there is no forward pass of
    SupportNet, and before MAM starts MainNet sees ratio 1 only.

    SupportNet is in evaluation mode throughout: it draws no dropout and normalises with running statistics, so that it
    supervises with the CAMs that it would predict ("stable self-supervision", section 3.1; the paper says no more).
    It is no part of predictions, which are MainNet's, nor of what inference loads (:meth:`drop_training_parts`).
    A config also names ``SupportNetHook``, which keeps it up to date, and ``LossWeightScheduleHook``, which starts MAM
    after a part of the training.

    Args:
        main_net: Config of MainNet, any :class:`BaseCAMModel`; the last of its feature maps is X. Its hooks, provider,
            ``test_cfg`` and preprocessor have no effect.
        rcm: Config of the regional contrastive module; ``None``: without.
        mam: Config of the multi-scale attentive module; ``None``: without.
        ratios: Ratios of the image, one of them 1.
        stride: Pixels of the image at ratio 1 per position of the grid that features and CAMs are resized to; the grid
            is ceil(H / stride) x ceil(W / stride). 1 is the paper's; larger ones take 1 / stride² of the memory.
        momentum: 1 - a in the update of SupportNet, ``theta_G <- a theta_G + (1 - a) theta_F``.
        support: ``'ema'``, or ``'shared'``: SupportNet is MainNet, in its mode, without gradient ("weight sharing" in
            Table 2). A ratio at which MainNet is trained is then not forwarded a second time.
        loss_weights: Any of ``cls``, ``rcm`` and ``mam``, default 1: lambda_1, lambda_2, lambda_3. Plain attributes
            that a hook may change at any time.
        **kwargs: See :class:`BaseCAMModel`.

    Raises:
        ValueError: If ``ratios`` are not positive and different, lack 1, or have it at another place than ``mam`` says;
            if ``stride`` is below 1, ``momentum`` not in (0, 1], ``support`` unknown, or a name in ``loss_weights``.
    """

    def __init__(self, main_net: dict, rcm: dict | None = None, mam: dict | None = None,
                 ratios: Sequence[float] = (0.5, 1, 2), stride: int = 1, momentum: float = 0.003,
                 support: str = 'ema', loss_weights: Mapping[str, float] | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.loss_weights = dict(cls=1.0, rcm=1.0, mam=1.0)
        if unknown := set(loss_weights or {}) - set(self.loss_weights):
            raise ValueError(f'{name}: loss_weights are {sorted(self.loss_weights)}, got {sorted(unknown)}')
        if 1 not in ratios or min(ratios) <= 0 or len(set(ratios)) < len(ratios):
            raise ValueError(f'{name}: ratios are different, positive, and one is 1; got {ratios}')
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f'{name}: stride is at least 1, got {stride}')
        if not 0 < momentum <= 1:
            raise ValueError(f'{name}: momentum is in (0, 1], got {momentum}')
        if support not in SUPPORTS:
            raise ValueError(f'{name}: support is one of {SUPPORTS}, got {support!r}')
        self.loss_weights.update(loss_weights or {})
        self.ratios, self.stride, self.momentum = tuple(ratios), stride, momentum
        self.main_net = MODELS.build(main_net)
        self.rcm = MODELS.build(rcm) if rcm else None
        self.mam = MODELS.build(mam) if mam else None
        if mam and self.mam.reference_index != self.ratios.index(1):
            raise ValueError(f'{name}: ratio 1 is at place {self.ratios.index(1)} of {ratios}, but mam.reference_index '
                             f'is {self.mam.reference_index}')
        self.support_net = None
        if support == 'ema' and (rcm or mam):
            self.support_net = copy.deepcopy(self.main_net).requires_grad_(False).eval()

    def init_weights(self) -> None:
        """Initialises MainNet, and SupportNet with its weights."""
        support_net, self.support_net = self.support_net, None
        super().init_weights()
        self.support_net = support_net
        self.sync_support_net()

    def train(self, mode: bool = True) -> 'PixelSelfSupervision':
        """Sets the mode of everything but SupportNet, which stays in evaluation mode."""
        super().train(mode)
        if self.support_net is not None:
            self.support_net.eval()
        return self

    @torch.no_grad()
    def sync_support_net(self) -> None:
        """Gives SupportNet the weights and buffers of MainNet."""
        if self.support_net is not None:
            self.support_net.load_state_dict(self.main_net.state_dict())

    @torch.no_grad()
    def update_support_net(self) -> None:
        """Moves SupportNet by ``momentum`` towards MainNet, weights and running statistics.

        The statistics of a BatchNorm in training, which every rank has of its own batches, are averaged over the ranks,
        so that SupportNet is the same on all.
        """
        if self.support_net is None:
            return
        target = self.main_net.state_dict()
        moving = [f'{name}.{key}' for name, module in self.main_net.named_modules()
                  if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
                  for key in ('running_mean', 'running_var')]
        if moving:
            statistics = {key: target[key].clone() for key in moving}
            all_reduce_params(list(statistics.values()), op='mean')
            target.update(statistics)
        for key, value in self.support_net.state_dict().items():
            if value.is_floating_point():
                value.lerp_(target[key], self.momentum)
            else:
                value.copy_(target[key])

    def drop_training_parts(self) -> tuple[str, ...]:
        """Removes SupportNet and the modules for the losses, which predictions do not need.

        Returns:
            Patterns of the keys that a checkpoint of a training has for them.
        """
        self.support_net = self.rcm = self.mam = None
        return r'^support_net\.', r'^rcm\.', r'^mam\.'

    @property
    def num_classes(self) -> int:
        """Number of foreground classes C."""
        return self.main_net.num_classes

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`BaseCAMModel.forward_maps`."""
        return self.main_net.forward_maps(inputs)

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`."""
        return self.main_net.pool(maps)

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.loss_by_maps`."""
        return self.main_net.loss_by_maps(maps, labels)

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """MainNet's CAM function, see :meth:`BaseCAMModel.compute_cam`."""
        return self.main_net.compute_cam(inputs, labels)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses.

        Args:
            inputs: N x 3 x H x W normalised images.
            data_samples: Their data samples, with ``gt_img_label``.

        Returns:
            ``loss_cls``, ``loss_rcm`` and ``loss_mam``, times their weights; those of weight 0 are left out.
        """
        labels = stack_labels(data_samples).to(inputs.device)
        weights = self.loss_weights
        use_rcm, use_mam = self.rcm is not None and weights['rcm'] > 0, self.mam is not None and weights['mam'] > 0
        size, middle = grid_size(inputs.shape[-2:], self.stride), self.ratios.index(1)
        views = ([rescale_images(inputs, ratio) for ratio in self.ratios] if use_rcm or use_mam
                 else {middle: inputs})
        trained = range(len(self.ratios)) if use_mam and self.mam.mode != 'smm' else [middle]
        main = {index: self._maps_and_features(self.main_net, views[index]) for index in trained}
        losses = {}
        if weights['cls'] > 0:
            losses['loss_cls'] = weights['cls'] * self.loss_by_maps(main[middle][0], labels)
        if not use_rcm and not use_mam:
            return losses
        support = self._forward_support(views, main)
        main_cams = {index: normalized_cam(maps, size) for index, (maps, _) in main.items()}
        support_cams = [normalized_cam(maps, size) for maps, _ in support]
        if use_rcm:
            x, support_x = main[middle][1], support[middle][1]
            if self.rcm.mode == 'contrast':  # the direct mode does not look at features
                x, support_x = resize_maps(x, size), resize_maps(support_x, size)
            losses['loss_rcm'] = weights['rcm'] * self.rcm(x, main_cams[middle], support_x,
                                                           multi_scale_cam(support_cams), labels)
        if use_mam:
            # SMM looks at ratio 1 only, which stands in for the others.
            cams = [main_cams.get(index, main_cams[middle]) for index in range(len(self.ratios))]
            losses['loss_mam'] = weights['mam'] * self.mam(cams, support_cams, labels)
        return losses

    @staticmethod
    def _maps_and_features(net: BaseCAMModel, view: Tensor) -> tuple[Tensor, Tensor]:
        maps, feats = net.forward_maps(view)
        return maps, feats[-1]

    @torch.no_grad()
    def _forward_support(self, views: Sequence[Tensor],
                         main: Mapping[int, tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Returns SupportNet's class maps and X of every view; ``main`` has MainNet's of some views."""
        if self.support_net is not None:
            return [self._maps_and_features(self.support_net, view) for view in views]
        # After MainNet's own forward pass: autocast keeps the casted weights, which here would be without gradient.
        return [tuple(tensor.detach() for tensor in main[index]) if index in main
                else self._maps_and_features(self.main_net, view) for index, view in enumerate(views)]
