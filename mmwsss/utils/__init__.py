"""Small helpers that belong to no stage."""
from importlib import import_module

__all__ = ['register_all_modules']


def register_all_modules(init_default_scope: bool = True) -> None:
    """Imports everything that registers components, as the function of this name in other OpenMMLab packages does.

    A config with ``default_scope = 'mmwsss'`` needs no such call: a registry imports what it holds when it is first
    asked. MMEngine itself calls it for a registry of this scope that does not say where its components are.

    Args:
        init_default_scope: Also make ``mmwsss`` the scope that names without a prefix are looked up in.
    """
    for room in ('models', 'datasets', 'engine', 'evaluation', 'visualization', 'inference', 'postprocessing'):
        import_module(f'mmwsss.{room}')
    if init_default_scope:
        from mmengine.registry import init_default_scope as make_default
        make_default('mmwsss')
