"""How optimizers are built."""
from mmwsss.engine.optimizers.autocast_wrapper import AutocastOptimWrapper
from mmwsss.engine.optimizers.multiplier_constructor import WSSSOptimWrapperConstructor

__all__ = ['AutocastOptimWrapper', 'WSSSOptimWrapperConstructor']
