"""mmwsss: weakly supervised semantic segmentation on MMSegmentation / MMEngine.

Importing the package checks the versions of the stack underneath and makes the registries
known to MMEngine; components are imported when a registry is first asked for one.
"""
from mmwsss.utils.versions import check_stack
from mmwsss.version import __version__

check_stack()

from mmwsss import registry  # noqa: E402  (needs the stack that was just checked)

__all__ = ['__version__', 'registry']
