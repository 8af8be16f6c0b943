"""Optimizer groups x1 / x2 / x10 / x20: pretrained weights and biases, new weights and biases."""
from numbers import Real

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.utils import is_seq_of
from torch import nn

from mmwsss.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from mmwsss.utils.errors import UserError

# paramwise_cfg key of each group's learning rate, with its value in PSA, SEAM and their descendants.
MULTIPLIERS = {'weight_mult': 1.0, 'bias_mult': 2.0, 'new_weight_mult': 10.0, 'new_bias_mult': 20.0}
GROUPS = {
    # (newly initialised, bias): (name of the group, key of its multiplier)
    (False, False): ('pretrained_weights', 'weight_mult'),
    (False, True): ('pretrained_biases', 'bias_mult'),
    (True, False): ('new_weights', 'new_weight_mult'),
    (True, True): ('new_biases', 'new_bias_mult'),
}


def split_parameters(model: nn.Module,
                     new_layers: list[str] | None = None) -> dict[tuple[bool, bool], list[nn.Parameter]]:
    """Sorts the trainable parameters of a model into the four groups.

    A bias is a parameter whose name ends in ``bias``, those of normalisation layers included. A
    parameter that several modules share counts once, under its first name.

    Args:
        model: The model.
        new_layers: Names of the modules (or parameters) that are newly initialised, with everything below
            them. ``None``: everything outside of a module named ``backbone``.

    Returns:
        {(newly initialised, bias): parameters}, all four keys, in the model's order.

    Raises:
        UserError: The model has nothing of a name in ``new_layers``.
    """
    if new_layers is not None:
        known = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
        for layer in new_layers:
            if not layer or layer not in known:
                children = ', '.join(name for name, _ in model.named_children())
                raise UserError(f'paramwise_cfg.new_layers: the model has no module {layer!r}; '
                                f'its parts are {children}.')

    def is_new(name: str) -> bool:
        if new_layers is None:
            return 'backbone' not in name.split('.')
        return any(name == layer or name.startswith(f'{layer}.') for layer in new_layers)

    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {key: [] for key in GROUPS}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[is_new(name), name.endswith('bias')].append(parameter)
    return groups


def split_by_depth(model: nn.Module,
                   parameters: list[nn.Parameter]) -> dict[tuple[int, int], list[nn.Parameter]]:
    """Sorts parameters by how deep in a backbone they lie.

    A backbone tells it by a method ``get_layer_depth(name, prefix)``, as those of mmpretrain and
    :class:`mmwsss.models.HFBackbone` do.

    Args:
        model: The model.
        parameters: Some of its parameters.

    Returns:
        {(depth, number of depths): parameters}; everything outside of such a backbone is (0, 1).

    Raises:
        UserError: If the model has no such backbone.
    """
    depths: dict[int, tuple[int, int]] = {}
    backbones = [(path, module) for path, module in model.named_modules() if hasattr(module, 'get_layer_depth')]
    if not backbones:
        raise UserError('paramwise_cfg.layer_decay: the model has no backbone that tells the depth of its layers, as '
                        'HFBackbone and those of mmpretrain do; leave it out.')
    for path, module in backbones:
        prefix = f'{path}.' if path else ''
        for name, parameter in module.named_parameters():
            depths.setdefault(id(parameter), tuple(module.get_layer_depth(f'{prefix}{name}', prefix)))
    groups: dict[tuple[int, int], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(depths.get(id(parameter), (0, 1)), []).append(parameter)
    return dict(sorted(groups.items()))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class WSSSOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer of at most four named parameter groups.

    ==================== ======================= ===============================
    group                learning rate           weight decay
    ==================== ======================= ===============================
    pretrained_weights   lr x weight_mult        weight_decay
    pretrained_biases    lr x bias_mult          weight_decay x bias_decay_mult
    new_weights          lr x new_weight_mult    weight_decay
    new_biases           lr x new_bias_mult      weight_decay x bias_decay_mult
    ==================== ======================= ===============================

    Where the optimizer's config has no ``weight_decay``, weights have the optimizer's default and biases
    none. A group without a trainable parameter is left out. A poly schedule with the default ``eta_min=0``
    keeps the ratios of the groups.

    With ``layer_decay`` every group is split by depth, and the learning rate of depth d of n is multiplied by
    ``layer_decay ** (n - 1 - d)``: the last norm keeps its own, the last block has it times the decay, the
    embedding the smallest.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper; its ``optimizer`` must have an ``lr``.
        paramwise_cfg: Any of ``weight_mult`` (1), ``bias_mult`` (2), ``new_weight_mult`` (10),
            ``new_bias_mult`` (20), ``bias_decay_mult`` (0), ``layer_decay`` (none; above 0, at most 1), and
            ``new_layers``, a list of names of newly initialised modules (default: everything outside of a module named
            ``backbone``).

    Raises:
        UserError: An unknown key in ``paramwise_cfg``, a value of the wrong kind, an optimizer without
            ``lr``, or without ``weight_decay`` where ``bias_decay_mult`` is not 0; when called: a name
            in ``new_layers`` that the model does not have, or a model without a trainable parameter.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='WSSSOptimWrapperConstructor',
        ...     optimizer=dict(type='SGD', lr=0.01, weight_decay=5e-4),
        ...     paramwise_cfg=dict(new_layers=['cam_head']))
    """

    def _validate_cfg(self) -> None:
        # The parent's __init__ calls this; its checks are for keys that we do not take.
        given = dict(self.paramwise_cfg)
        defaults = {**MULTIPLIERS, 'bias_decay_mult': 0.0, 'layer_decay': None, 'new_layers': None}
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            raise UserError(f'paramwise_cfg: unknown key {unknown[0]!r}; '
                            f'WSSSOptimWrapperConstructor takes {", ".join(defaults)}.')
        self.paramwise_cfg = {**defaults, **given}
        for key, value in self.paramwise_cfg.items():
            if key not in ('new_layers', 'layer_decay') and not (isinstance(value, Real) and value >= 0):
                raise UserError(f'paramwise_cfg.{key}: {value!r} is not a number >= 0.')
        decay = self.paramwise_cfg['layer_decay']
        if decay is not None and not (isinstance(decay, Real) and 0 < decay <= 1):
            raise UserError(f'paramwise_cfg.layer_decay: {decay!r} is not a number above 0 and at most 1.')
        layers = self.paramwise_cfg['new_layers']
        if layers is not None and (isinstance(layers, str) or not is_seq_of(layers, str)):
            raise UserError(f'paramwise_cfg.new_layers: {layers!r} is not a list of names, '
                            "such as ['cam_head'].")
        for key, value in (('lr', self.base_lr), ('weight_decay', self.base_wd)):
            if value is not None and not isinstance(value, Real):
                raise UserError(f'optim_wrapper.optimizer.{key}: {value!r} is not a number.')
        kind = self.optimizer_cfg.get('type')
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            raise UserError(f'optim_wrapper.optimizer.type: there is no optimizer {kind!r}, but e.g. SGD and AdamW.')
        if self.base_lr is None:
            raise UserError('optim_wrapper.optimizer has no lr; the groups of WSSSOptimWrapperConstructor '
                            'are multiples of it: add one.')
        if self.base_wd is None and self.paramwise_cfg['bias_decay_mult'] != 0:
            raise UserError('paramwise_cfg.bias_decay_mult: optim_wrapper.optimizer has no weight_decay '
                            'that it could multiply: add one.')

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: object) -> None:
        """Appends the parameter groups of ``module`` (the whole model) to ``params``."""
        cfg = self.paramwise_cfg
        for (new, bias), parameters in split_parameters(module, cfg['new_layers']).items():
            if not parameters:
                continue
            name, multiplier = GROUPS[new, bias]
            decay = cfg['layer_decay']
            parts = {(0, 1): parameters} if decay is None else split_by_depth(module, parameters)
            for (depth, depths), part in parts.items():
                group = {'params': part, 'name': name if depths == 1 else f'{name}_depth{depth}',
                         'lr': self.base_lr * cfg[multiplier] * (decay or 1) ** (depths - 1 - depth)}
                # Without one in the config the optimizer's own default holds, but not for biases.
                if bias:
                    group['weight_decay'] = (self.base_wd or 0.0) * cfg['bias_decay_mult']
                elif self.base_wd is not None:
                    group['weight_decay'] = self.base_wd
                params.append(group)
                print_log(f'optimizer group {group["name"]}: {len(part)} tensors, lr {group["lr"]:g}, '
                          f'weight decay {group.get("weight_decay", "of the optimizer")}', logger='current')
        if not params:
            raise UserError('the model has no trainable parameter; freeze less of it (frozen_stages).')
