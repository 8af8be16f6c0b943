"""Grad-CAM, Grad-CAM++ and Layer-CAM: class activation maps from the gradients of the scores."""
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference.base import CAMProvider
from mmwsss.registry import CAM_PROVIDERS
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError

# exp(88) is the largest that float32 holds; the rest is room for what it is multiplied with and for sums.
MAX_EXPONENT = 60.0


class StageError(UserError, ValueError):
    """The option ``stage`` names no feature map that a gradient CAM can be made of."""


def grad_cam(feats: Tensor, grads: Tensor) -> Tensor:
    """Grad-CAM: feature maps weighted by their mean gradients.

    `Grad-CAM <https://arxiv.org/abs/1610.02391>`_ (ICCV 2017), with A the feature maps, S the score of a class before
    the sigmoid and Z = h w::

        alpha_k = 1 / Z sum_ij dS / dA_kij          (eq. 1)
        L_ij = relu(sum_k alpha_k A_kij)            (eq. 2)

    For a 1x1 convolution without bias and global average pooling behind A it is the rectified class map, divided by Z.

    Args:
        feats: N x K x h x w feature maps.
        grads: N x K x h x w, the gradient of an image's score with respect to them.

    Returns:
        N x h x w, non-negative.
    """
    alpha = grads.mean(dim=(2, 3), keepdim=True)
    return F.relu((alpha * feats).sum(dim=1))


def grad_cam_pp(feats: Tensor, grads: Tensor, scores: Tensor | None = None) -> Tensor:
    """Grad-CAM++ in its closed form: feature maps weighted by sums of their positive gradients.

    `Grad-CAM++ <https://arxiv.org/abs/1710.11063>`_ (WACV 2018), with Y = exp(S)::

        alpha_kij = d2Y/dA_kij^2 / (2 d2Y/dA_kij^2 + sum_ab A_kab d3Y/dA_kij^3)
                  = g_kij^2 / (2 g_kij^2 + sum_ab A_kab g_kij^3),    g = dS/dA          (eq. 19)
        w_k = sum_ij alpha_kij relu(dY/dA_kij)
        L_ij = relu(sum_k w_k A_kij)

    The exponential is what makes it work: a network of convolutions and ReLUs is piecewise linear, so that for
    Y = S the second and third derivatives vanish and alpha is 0/0; for Y = exp(S) they are exp(S) times the powers of
    g. In alpha that factor cancels, in relu(dY/dA) = exp(S) relu(g) it stays. It is the same for a whole map.
    pytorch-grad-cam and torch-cam leave it out, and so does this function without ``scores``; the authors' code keeps
    it, which ``scores`` does. (Their code also divides alpha by its sum over the positions, which the paper's
    formula does not; nor do we.)

    We divide numerator and denominator by g^2: behind a global average pooling g is so small (a weight over Z) that
    its square drowns in the constant (1e-6) that other implementations add to the denominator. A denominator of
    zero, which takes a feature map with a negative sum, is replaced by one, as in the authors' code.

    Args:
        feats: N x K x h x w feature maps; the derivation takes them to be non-negative.
        grads: N x K x h x w, the gradient of an image's score with respect to them.
        scores: N scores S, or ``None`` for the map without the factor exp(S). Above 60 they count as 60, so
            that the factor is finite in float32.

    Returns:
        N x h x w, non-negative.
    """
    denominator = 2 + feats.sum(dim=(2, 3), keepdim=True) * grads
    alpha = 1 / torch.where(denominator == 0, torch.ones_like(denominator), denominator)
    weights = (alpha * F.relu(grads)).sum(dim=(2, 3), keepdim=True)
    cam = F.relu((weights * feats).sum(dim=1))
    return cam if scores is None else scores.clamp(max=MAX_EXPONENT).exp()[:, None, None] * cam


def layer_cam(feats: Tensor, grads: Tensor) -> Tensor:
    """Layer-CAM: features weighted by their own positive gradients, position by position.

    `LayerCAM <https://doi.org/10.1109/TIP.2021.3089943>`_ (TIP 2021)::

        w_kij = relu(dS / dA_kij)
        L_ij = relu(sum_k w_kij A_kij)

    Args:
        feats: N x K x h x w feature maps.
        grads: N x K x h x w, the gradient of an image's score with respect to them.

    Returns:
        N x h x w, non-negative.
    """
    return F.relu((F.relu(grads) * feats).sum(dim=1))


class GradientCAM(CAMProvider):
    """Base class of the gradient CAMs: computes the gradients of the scores with respect to one feature map.

    The score of a class is its logit, before the sigmoid. An image's map is made for the classes of its label only
    (for all without labels); the others are zero. The r-th class of every image takes part in the same
    backward pass, so there are as many of them as the image with most classes has. The maps of an image do not
    depend on the images beside it (while no BatchNorm is in training mode).

    It works under :func:`torch.no_grad` and :class:`torch.inference_mode`, both of which it leaves for as long as
    it computes (parameters that were themselves created in inference mode cannot take part; torch says so), with
    frozen parameters (but not with a backbone that computes without gradient, such as ``CachedBackbone``), and under
    autocast, where what is done with the gradients is done in float32. It differentiates with respect to the feature
    map alone: no parameter gets a ``grad``, no module a hook, and nothing that is returned holds the graph. The
    forward pass does keep its activations until then, which takes as much memory as in training.

    Args:
        stage: Name of the feature map in ``CAMOutput.feats``: ``'0'``, ``'1'``, ...; ``None`` is the last.
        times_area: Multiplies the maps by the number of positions of the class maps. The score is the mean of its
            class map, so that its gradient, and the map as the papers have it, is inversely proportional to that
            number: in the sum of :class:`MultiScaleFlip` a view at scale 0.5 would count 16 times as much as
            one at scale 2. Of no effect on a single view, whose maps are divided by their maxima.
    """

    def __init__(self, stage: str | int | None = None, times_area: bool = True) -> None:
        self.stage = None if stage is None else str(stage)
        self.times_area = times_area

    @abstractmethod
    def localize(self, feats: Tensor, grads: Tensor, scores: Tensor) -> Tensor:
        """Makes the map of one class for each image.

        Args:
            feats: N x K x h x w feature maps, float32.
            grads: N x K x h x w, the gradient of ``scores`` with respect to them, float32.
            scores: N scores before the sigmoid, float32.

        Returns:
            N x h x w, non-negative.
        """

    def __call__(self, model: 'BaseCAMModel', inputs: Tensor, labels: Tensor | None) -> CAMOutput:  # noqa: F821
        """Computes the CAM of a batch.

        Args:
            model: The model.
            inputs: N x 3 x H x W normalised images.
            labels: N x C multi-hot image labels, or ``None`` for the maps of all classes.

        Returns:
            The maps N x C x h x w (float32, the resolution of the stage), the scores and all feature maps, detached.

        Raises:
            StageError: A :class:`ValueError` and :class:`UserError`, if the model has no such stage, its scores do
                not depend on it, or it has no gradient.
        """
        # Not enable_grad alone: in inference mode it has no effect, and tensors made there cannot be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            # The inputs require a gradient so that every stage does, however much of the model is frozen.
            inputs = (inputs.clone() if inputs.is_inference() else inputs.detach()).requires_grad_()
            maps, feats = model.forward_maps(inputs)
            logits = model.pool(maps)
            wanted = torch.ones_like(logits, dtype=torch.bool) if labels is None else labels.to(logits.device) > 0
            cam = self._localize_classes(self._find_stage(feats), logits, wanted, positions=maps[0, 0].numel())
        attentions = getattr(feats, 'attentions', None)
        return CAMOutput(cam=cam, logits=logits.detach(), feats={str(i): feat.detach() for i, feat in enumerate(feats)},
                         attentions=None if attentions is None else attentions.detach())

    def _localize_classes(self, tap: Tensor, logits: Tensor, wanted: Tensor, positions: int) -> Tensor:
        """Computes the maps N x C x h x w, for the classes in ``wanted`` (N x C)."""
        feats, scores = tap.detach().float(), logits.detach().float()
        cam = feats.new_zeros(*logits.shape, *tap.shape[-2:])
        count = wanted.cumsum(dim=1)
        rounds = int(count.max())
        for r in range(1, rounds + 1):
            images, classes = (wanted & (count == r)).nonzero(as_tuple=True)
            # A mean's gradient would underflow in float16; a sum's does not.
            target = positions * logits[images, classes].float().sum()
            grads, = torch.autograd.grad(target, tap, retain_graph=r < rounds, allow_unused=True)
            if grads is None:
                raise StageError(f'{type(self).__name__}: the scores do not depend on {self._stage_name()}; set '
                                 'model.cam_provider.stage to one that the CAM head uses')
            maps = self.localize(feats[images], grads[images].float() / positions, scores[images, classes])
            cam[images, classes] = positions * maps if self.times_area else maps
        return cam

    def _find_stage(self, feats: tuple[Tensor, ...]) -> Tensor:
        if self.stage is None:
            tap = feats[-1]
        elif self.stage in (names := [str(i) for i in range(len(feats))]):
            tap = feats[int(self.stage)]
        else:
            raise StageError(f'{type(self).__name__}: there is no stage {self.stage!r}; set model.cam_provider.stage '
                             f'to one of {", ".join(map(repr, names))}')
        if not tap.requires_grad:  # though the image does
            raise StageError(f'{type(self).__name__}: the backbone computes {self._stage_name()} without gradient, as '
                             'one that is frozen as a whole or cached does; leave out model.cam_provider, or take '
                             'another backbone')
        return tap

    def _stage_name(self) -> str:
        return 'the last stage' if self.stage is None else f'stage {self.stage!r}'


@CAM_PROVIDERS.register_module()
class GradCAM(GradientCAM):
    """Grad-CAM, see :func:`grad_cam`.

    At the last stage of a model whose head is a 1x1 convolution without bias and global average pooling it is the CAM.

    Args:
        stage: See :class:`GradientCAM`.
        times_area: See :class:`GradientCAM`; without it the map is the paper's, 1 / (h w) times as large.
    """

    def localize(self, feats: Tensor, grads: Tensor, scores: Tensor) -> Tensor:
        """See :meth:`GradientCAM.localize`."""
        return grad_cam(feats, grads)


@CAM_PROVIDERS.register_module()
class GradCAMPlusPlus(GradientCAM):
    """Grad-CAM++, see :func:`grad_cam_pp`.

    Its maps do not shrink with the number of positions, as their weights are sums over it.

    Args:
        stage: See :class:`GradientCAM`.
        exp_score: Keeps the factor exp(score) of the paper's Y = exp(S). Of no effect on a single view, whose maps
            are divided by their maxima; in a sum over views each counts by the exponential of its score.
    """

    def __init__(self, stage: str | int | None = None, exp_score: bool = False) -> None:
        super().__init__(stage, times_area=False)
        self.exp_score = exp_score

    def localize(self, feats: Tensor, grads: Tensor, scores: Tensor) -> Tensor:
        """See :meth:`GradientCAM.localize`."""
        return grad_cam_pp(feats, grads, scores if self.exp_score else None)


@CAM_PROVIDERS.register_module()
class LayerCAM(GradientCAM):
    """Layer-CAM of one stage, see :func:`layer_cam`.

    Args:
        stage: See :class:`GradientCAM`.
        times_area: See :class:`GradientCAM`; without it the map is the paper's, 1 / (h w) times as large.
    """

    def localize(self, feats: Tensor, grads: Tensor, scores: Tensor) -> Tensor:
        """See :meth:`GradientCAM.localize`."""
        return layer_cam(feats, grads)
