"""mmwsss: weakly supervised semantic segmentation on MMSegmentation / MMEngine.

Importing the package checks the versions of the stack underneath and makes the registries
known to MMEngine; components are imported when a registry is first asked for one.
"""
import os

# Read when torch's OpenMP runtime loads. By default its threads spin while they wait for each other, so that one busy
# data worker (or another program) on a core stalls them all: 0.5 to 1.8 s instead of 2.4 to 4.7 s for a batch on two
# busy cores. On an idle machine it costs nothing for large inputs and up to a third for small ones (128 pixels).
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmwsss.utils.versions import check_stack
from mmwsss.version import __version__

check_stack()

from mmwsss import registry  # noqa: E402  (needs the stack that was just checked)

__all__ = ['__version__', 'registry']
