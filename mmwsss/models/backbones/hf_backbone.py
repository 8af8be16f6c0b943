"""Any vision backbone of Hugging Face's transformers."""
import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.models.backbones import hf_models
from mmwsss.models.backbones.base_backbone import StagedBackbone
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionMaps, FeatureMaps, grid_size
from mmwsss.utils.errors import UserError

FITS = ('resize', 'pad')


@MODELS.register_module()
class HFBackbone(StagedBackbone):
    """A vision model of Hugging Face's transformers as a backbone: DINOv2, DINOv3, ViT, CLIP, Swin, ConvNeXt, ...

    Every model of transformers' ``AutoBackbone``, and the transformers of one stride that it has no class for (ViT,
    DeiT, the vision towers of CLIP and SigLIP). Images may be of any size: positions are interpolated, and images are
    brought to multiples of the patches. The result is a tuple of feature maps as from any other backbone. For
    transformers of one stride it also has the special tokens and, if asked for, the attention
    (:class:`mmwsss.structures.FeatureMaps`). ::

        backbone=dict(type='HFBackbone', model='/data/dinov2-small', out_indices=(-1,), frozen=True)
        backbone=dict(type='HFBackbone', config=dict(model_type='swin', embed_dim=96), out_indices=(1, 2, 3, 4))

    Weights are loaded by ``init_weights()``, which a Runner calls before a training: whoever builds the backbone alone
    calls it himself. A checkpoint of ours holds them, so tests read only the config from ``model``. Weights are
    safetensors, or load with ``weights_only=True``; code from the hub is not run.

    Args:
        model: Local folder with ``config.json`` and ``model.safetensors``, or a name on the hub.
        config: Settings in the words of the model's config class. Without ``model`` they say everything and include
            ``model_type``; with it they replace some of its own.
        out_indices: Stages whose outputs are returned, increasing: positions (negative ones from the end) in, or names
            of, :attr:`stage_names`. For a transformer of one stride 0 is the patch embedding and k the k-th block;
            blocks after the last one are not built. Most others have their stem as 0 and stages 1 to 4.
        pretrained: Whether to load the weights of ``model``, the default; or another folder or name with weights.
            Without ``model`` the default is random weights.
        frozen: The whole network stays as it is: in eval mode, without gradients.
        frozen_stages: Frozen parts from the input on: 1 is the embedding, k + 1 is up to and with block (or stage) k.
        with_cp: Recompute the activations of blocks in the backward pass, which saves memory.
        fit: How an image is brought to multiples of ``size_divisor``: ``'resize'`` to the nearest ones, so that the map
            covers the image exactly; ``'pad'`` at the right and bottom with zeros (the mean colour).
        size_divisor: Default: the patch size; 32 for convolutions without padding (ConvNeXt); 1 for others.
        final_norm: Transformers of one stride: whether maps and tokens pass the model's last LayerNorm. Default: what
            the model's config says (``apply_layernorm``), else yes. ``False``: maps are the hidden states themselves,
            with respect to which later ones can be differentiated (gradient CAMs of an earlier stage).
        project: CLIP: tokens pass the LayerNorm and the projection to the space of the text embeddings; maps too,
            unless ``final_norm=False``.
        attention_blocks: Transformers of one stride: attention of this many last blocks is returned, the mean over
            the heads.
        num_class_tokens: Transformers of one stride with a class token: C of them stand in its place (MCTformer). They
            begin as the pretrained one with small random differences.
        out_strides: For every map the stride to resize it to, bilinearly: ceil(H / stride) x ceil(W / stride). It makes
            a pyramid, which IRNet needs, of a transformer of one stride.
        norm_eval: BatchNorm stays in eval mode.
        norm_frozen: BatchNorm's weight and bias get no gradient.

    Attributes:
        stage_names: Names of all stages.
        channels: Channels of the maps that are returned.
        normalization: ``mean`` and ``std`` of RGB values from 0 to 255 that the model was trained with, from the
            ``preprocessor_config.json`` in the folder of the model; ``None`` where it is not known.

    Raises:
        UserError: If transformers is not installed, the model cannot be read or has no such stages, or an option
            is not for this kind of model.

    Example:
        >>> vit = dict(model_type='vit', hidden_size=16, num_hidden_layers=2, num_attention_heads=2, patch_size=8)
        >>> model = HFBackbone(config=vit, out_indices=(1, 2))
        >>> [tuple(feat.shape) for feat in model(torch.rand(1, 3, 32, 50))]
        [(1, 16, 4, 6), (1, 16, 4, 6)]
    """

    def __init__(self, model: str | None = None, config: dict | None = None,
                 out_indices: Sequence[int | str] = (-1,), pretrained: bool | str | None = None,
                 frozen: bool = False, frozen_stages: int = 0, with_cp: bool = False, fit: str = 'resize',
                 size_divisor: int | None = None, final_norm: bool | None = None, project: bool = False,
                 attention_blocks: int = 0, num_class_tokens: int = 0, out_strides: Sequence[int] | None = None,
                 norm_eval: bool = False, norm_frozen: bool = False) -> None:
        super().__init__(frozen_stages, norm_eval, norm_frozen)
        if model is None and config is None:
            raise UserError("HFBackbone: give a model (a folder or a name on the hub) or a config(model_type=...)")
        if fit not in FITS or (size_divisor is not None and size_divisor < 1):
            raise UserError(f'HFBackbone: fit is one of {FITS} and size_divisor at least 1, got {fit!r} and '
                            f'{size_divisor}')
        if pretrained is True and model is None:
            raise UserError('HFBackbone: pretrained=True needs a model; or give the folder of the weights')
        self.weights = (pretrained if isinstance(pretrained, str) else
                        model if pretrained in (None, True) else None)
        settings = hf_models.read_config(model, config)
        self.stage_names = hf_models.stage_names(settings)
        if not self.stage_names:
            raise UserError(f'HFBackbone: {settings.model_type!r} cannot be used as a backbone; the models are those '
                            f'of AutoBackbone and {", ".join(hf_models.TOKEN_MODELS)}')
        self.out_indices = self._resolve(out_indices)
        self.out_strides = None if out_strides is None else tuple(out_strides)
        if out_strides is not None and (len(out_strides) != len(self.out_indices) or min(out_strides) < 1):
            raise UserError(f'HFBackbone: out_strides={tuple(out_strides)}, but out_indices are '
                            f'{len(self.out_indices)} maps; give one stride, at least 1, for each')
        self.has_tokens = hf_models.is_token_model(settings)
        for option, value in (('final_norm', final_norm is not None), ('project', project),
                              ('attention_blocks', attention_blocks), ('num_class_tokens', num_class_tokens)):
            if value and not self.has_tokens:
                raise UserError(f'HFBackbone: {option} is for {", ".join(hf_models.TOKEN_MODELS)}, not for '
                                f'{settings.model_type!r}; leave it out')
        if num_class_tokens and settings.model_type == 'siglip_vision_model':
            raise UserError('HFBackbone: num_class_tokens needs a model with a class token, which SigLIP has not')
        if self.has_tokens:
            settings.num_hidden_layers = max(self.out_indices[-1], 1)
            if not 0 <= attention_blocks <= settings.num_hidden_layers:
                raise UserError(f'HFBackbone: attention_blocks={attention_blocks}, but blocks up to the last of '
                                f'out_indices are {settings.num_hidden_layers}')
        else:
            settings.out_indices = list(self.out_indices)
        self.final_norm = getattr(settings, 'apply_layernorm', True) if final_norm is None else final_norm
        self.attention_blocks, self.fit = attention_blocks, fit
        least = hf_models.size_divisor(settings)
        self.size_divisor = size_divisor or least
        if self.has_tokens and self.size_divisor % least:
            raise UserError(f'HFBackbone: size_divisor={size_divisor} is no multiple of the patch size {least}')
        self.model = hf_models.build(settings, project, attention_blocks > 0)
        self.normalization = hf_models.read_normalization(model) if model is not None else None
        self.frozen = frozen
        self.num_class_tokens = num_class_tokens
        if num_class_tokens:
            self.class_tokens = nn.Parameter(torch.empty(num_class_tokens, settings.hidden_size))
            nn.init.trunc_normal_(self.class_tokens, std=0.02)
        if self.has_tokens:
            width = settings.projection_dim if project and self.final_norm else settings.hidden_size
            self.channels = (width,) * len(self.out_indices)
        else:
            self.channels = tuple(self.model.channels)
        if with_cp:
            if not self.model.supports_gradient_checkpointing:
                raise UserError(f'HFBackbone: with_cp=True, but {settings.model_type!r} has no gradient checkpointing '
                                'in transformers; leave it out')
            self.model.activation_checkpointing_enable(dict(use_reentrant=False))
        self._leave_out_unused()
        self.freeze()

    def _resolve(self, out_indices: Sequence[int | str]) -> tuple[int, ...]:
        names = self.stage_names
        indices = [names.index(i) if i in names else i for i in out_indices]
        indices = [i + len(names) if isinstance(i, int) and i < 0 else i for i in indices]
        if not indices or any(not isinstance(i, int) or not 0 <= i < len(names) for i in indices) or (
                indices != sorted(set(indices))):
            raise UserError(f'HFBackbone: out_indices={tuple(out_indices)} is not possible; give increasing positions '
                            f'in, or names of, the stages {", ".join(names)}')
        return tuple(indices)

    def _parts(self) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
        count = self.model.config.num_hidden_layers if self.has_tokens else len(
            [name for name in self.stage_names if name != 'stem'])
        return hf_models.find_layers(self.model, count)

    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of the embedding, of every block (or stage), and of what follows."""
        before, layers, after = self._parts()
        return [before, *([layer] for layer in layers), after]

    def _leave_out_unused(self) -> None:
        """Takes the gradient from what cannot get one, which a distributed training would wait for."""
        _, layers, after = self._parts()
        if not self.has_tokens:
            last = self.stage_names[self.out_indices[-1]]
            used = 0 if last == 'stem' else [name for name in self.stage_names if name != 'stem'].index(last) + 1
            for layer in layers[used:]:
                layer.requires_grad_(False)
            if used and isinstance(getattr(layers[used - 1], 'downsample', None), nn.Module):
                layers[used - 1].downsample.requires_grad_(False)  # Swin's stages end with it, after their map
        elif self.out_indices[-1] == 0:
            layers[0].requires_grad_(False)
        kept = []
        if self.has_tokens and (self.final_norm or hasattr(self.model, 'visual_projection')):
            kept = [hf_models.find_part(self.model, hf_models.NORM_NAMES)]
        for module in after:
            is_used = module in kept or isinstance(module, (nn.ModuleDict, nn.ModuleList)) or (
                module is getattr(self.model, 'visual_projection', None))
            if not is_used:
                module.requires_grad_(False)
        for name, parameter in self.model.named_parameters():
            if name.endswith('mask_token'):
                parameter.requires_grad_(False)

    def freeze(self) -> None:
        """Puts what is frozen into eval mode and takes its gradients away."""
        super().freeze()
        if self.frozen:
            self.eval_all()

    def eval_all(self) -> None:
        """Puts the whole network into eval mode, without gradients."""
        for module in self.modules():
            module.training = False
        self.requires_grad_(False)

    def init_weights(self) -> None:
        """Loads the pretrained weights, if any; random ones stay as transformers drew them."""
        # The base class would call init_weights of transformers' model, which draws anew.
        if self.weights is not None and not self.is_init:
            hf_models.load_weights(self.model, self.weights)
        self._is_init = True

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Tells how deep a parameter lies, for layer-wise learning rates.

        Args:
            param_name: Name of a parameter of the model around.
            prefix: What stands before this backbone's names in it, such as ``'backbone.'``.

        Returns:
            Depth of the parameter (0 the embedding, k block or stage k, the number of blocks + 1 what follows), and
            the number of depths.
        """
        parts = self.stages()
        name = param_name.removeprefix(prefix)
        for depth, modules in enumerate(parts):
            owned = {id(parameter) for module in modules for parameter in module.parameters()}
            if id(self.get_parameter(name)) in owned:
                return depth, len(parts)
        # class tokens, and parameters of the model itself, such as a patch embedding's position
        return (len(parts) - 1 if name == 'class_tokens' else 0), len(parts)

    def forward(self, x: Tensor) -> FeatureMaps:
        """Computes the feature maps.

        Args:
            x: N x 3 x H x W images, normalised.

        Returns:
            For every stage in ``out_indices`` N x K x h x w, with h = H / stride, rounded as ``fit`` says; or as
            ``out_strides`` says.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            size = x.shape[-2:]
            x = fit_size(x, self.size_divisor, self.fit)
            feats = self._forward_tokens(x) if self.has_tokens else FeatureMaps(self.model(x).feature_maps)
            if self.out_strides is None:
                return feats
            maps = [F.interpolate(feat, size=grid_size(size, stride), mode='bilinear', align_corners=False)
                    for feat, stride in zip(feats, self.out_strides)]
            return FeatureMaps(maps, feats.tokens, feats.attentions)

    def _forward_tokens(self, x: Tensor) -> FeatureMaps:
        patch = hf_models.size_divisor(self.model.config)
        grid = x.shape[-2] // patch, x.shape[-1] // patch
        accepts = inspect.signature(self.model.forward).parameters
        options = dict(interpolate_pos_encoding=True) if 'interpolate_pos_encoding' in accepts else {}
        with self._recording(grid) as record:
            self.model(x, **options)
        maps = [to_map(self._finish(states), grid) if self.final_norm else record.maps[i]
                for i, states in sorted(record.states.items())]
        tokens = record.states[self.out_indices[-1]][:, :-grid[0] * grid[1]]
        if self.final_norm or hasattr(self.model, 'visual_projection'):
            tokens = self._finish(tokens)
        blocks = tuple(weights for _, weights in sorted(record.attentions.items()))
        return FeatureMaps(maps, tokens if tokens.shape[1] else None,
                           AttentionMaps(blocks, grid) if blocks else None)

    def _finish(self, states: Tensor) -> Tensor:
        states = hf_models.find_part(self.model, hf_models.NORM_NAMES)(states)
        projection = getattr(self.model, 'visual_projection', None)
        return states if projection is None else projection(states)

    @contextmanager
    def _recording(self, grid: tuple[int, int]) -> Iterator['_Record']:
        """Collects hidden states of the stages that are asked for and attention of the last blocks."""
        record = _Record(grid, on_the_way=not self.final_norm)
        _, layers, _ = self._parts()
        with ExitStack() as stack:
            def add(handle: object) -> None:
                stack.callback(handle.remove)

            if self.num_class_tokens:
                add(hf_models.find_part(self.model, ('embeddings',)).register_forward_hook(self._insert_tokens))
            if 0 in self.out_indices:
                add(layers[0].register_forward_pre_hook(record.take_input))
            for number, layer in enumerate(layers, 1):
                if number in self.out_indices:
                    add(layer.register_forward_hook(partial(record.take_output, number)))
                if number > len(layers) - self.attention_blocks:
                    for module in layer.modules():
                        if type(module).__name__.endswith('Attention'):
                            add(module.register_forward_hook(partial(record.take_attention, number)))
            yield record

    def _insert_tokens(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        tokens = output[:, :1] + self.class_tokens
        return torch.cat([tokens.to(output.dtype), output[:, 1:]], dim=1)


class _Record:
    """What the blocks of a transformer compute, by the number of the block; 0 is what the first one gets.

    Args:
        grid: (h, w) of the patches.
        on_the_way: Make maps of the hidden states, and give what follows the hidden states that are made of the maps,
            so that these lie on the way from the image to everything later.
    """

    def __init__(self, grid: tuple[int, int], on_the_way: bool) -> None:
        self.grid, self.on_the_way = grid, on_the_way
        self.states: dict[int, Tensor] = {}
        self.maps: dict[int, Tensor] = {}
        self.attentions: dict[int, Tensor] = {}

    def _take(self, number: int, states: Tensor) -> Tensor:
        if self.on_the_way:
            patches = self.grid[0] * self.grid[1]
            self.maps[number] = to_map(states, self.grid)
            states = torch.cat([states[:, :-patches], self.maps[number].flatten(2).transpose(1, 2)], dim=1)
        self.states[number] = states
        return states

    def take_input(self, module: nn.Module, args: tuple) -> tuple:
        """Hook before the first block."""
        return (self._take(0, args[0]), *args[1:])

    def take_output(self, number: int, module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        """Hook after a block."""
        if isinstance(output, tuple):
            return (self._take(number, output[0]), *output[1:])
        return self._take(number, output)

    def take_attention(self, number: int, module: nn.Module, args: tuple, output: Tensor | tuple) -> None:
        """Hook after a block's attention."""
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, Tensor) and weights.dim() == 4:  # N x heads x T x T
            self.attentions[number] = weights.float().mean(dim=1)


def to_map(states: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arranges the patches, the last tokens of hidden states N x T x K, as a map N x K x h x w."""
    return states[:, -grid[0] * grid[1]:].transpose(1, 2).unflatten(2, grid).contiguous()


def fit_size(images: Tensor, divisor: int, fit: str) -> Tensor:
    """Brings a batch of images to sides that are multiples of ``divisor``.

    Args:
        images: N x 3 x H x W.
        divisor: What the sides are to be multiples of.
        fit: ``'resize'``: to the nearest multiples, at least one, bilinearly (antialiased); ``'pad'``: zeros at the
            right and bottom up to the next multiples.

    Returns:
        N x 3 x H' x W'; the input itself where it fits.

    Raises:
        ValueError: For another ``fit``.
    """
    if fit not in FITS:
        raise ValueError(f'fit_size: fit is one of {FITS}, got {fit!r}')
    height, width = images.shape[-2:]
    if height % divisor == 0 and width % divisor == 0:
        return images
    if fit == 'pad':
        return F.pad(images, (0, -width % divisor, 0, -height % divisor))
    size = [max(1, math.floor(side / divisor + 0.5)) * divisor for side in (height, width)]
    return F.interpolate(images, size=size, mode='bilinear', align_corners=False, antialias=True)
