"""What can do the dense CRF's message passing: numba, pydensecrf, or PyTorch alone."""
import importlib
from typing import Protocol

import numpy as np
import torch

from mmwsss.postprocessing.mean_field import ImageKernels, appearance_features, position_features
from mmwsss.utils.errors import UserError

# What has to be imported for each, and how it is installed. The fastest comes first: 'auto' takes the first one that
# is installed. tools/benchmark/dense_crf.py measured them, configs/_base_/postprocessing/README.md has its figures.
MODULES = {'numba': 'numba', 'pydensecrf': 'pydensecrf.densecrf', 'torch': 'torch'}
INSTALL = {
    'numba': '`pip install numba`',
    'pydensecrf': '`pip install pydensecrf2==1.1` (Python up to 3.12; it needs a C++ compiler)',
}
BACKENDS = ('auto', *MODULES)


class Kernels(Protocol):
    """The pairwise terms of one image, built once for any number of CRFs on it."""

    def mean_field(self, energy: np.ndarray, iterations: int) -> np.ndarray:
        """Returns probabilities, float32 [L, H * W], from finite unary energies, float32 [L, H * W], L >= 2."""


def choose_backend(name: str = 'auto', device: str = 'cpu') -> str:
    """Returns what will do the work: 'numba', 'pydensecrf' or 'torch'.

    Args:
        name: One of them, or 'auto': the first of them that is installed; on a GPU, 'torch'.
        device: Where it is to work; anything but 'cpu' is torch's.

    Raises:
        UserError: If the name or the device is unknown, if what is named is not installed or does not work there.
    """
    if name not in BACKENDS:
        raise UserError(f'DenseCRF: backend must be one of {", ".join(map(repr, BACKENDS))}, got {name!r}')
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise UserError(f"DenseCRF: device must be 'cpu' or a device of PyTorch such as 'cuda', got {device!r}"
                        ) from error
    if kind != 'cpu':
        if name not in ('auto', 'torch'):
            raise UserError(f"DenseCRF: backend {name!r} works on the CPU alone; for device {device!r} take 'torch'")
        if kind == 'cuda' and not torch.cuda.is_available():
            raise UserError(f"DenseCRF: there is no device {device!r} here; leave it out to work on the CPU")
        return 'torch'
    if name != 'auto':
        if error := import_error(name):
            raise UserError(f"DenseCRF: backend {name!r} cannot be imported ({error}): run {INSTALL[name]}, or leave "
                            'backend out, which takes what is installed')
        return name
    return next(backend for backend in MODULES if not import_error(backend))


def import_error(backend: str) -> Exception | None:
    """Returns why a backend cannot be imported; ``None`` if it can."""
    try:
        importlib.import_module(MODULES[backend])
    # ValueError, SystemError: it was built for another version of numpy or Python.
    except (ImportError, ValueError, SystemError) as error:
        return error
    return None


def build_kernels(backend: str, image: np.ndarray, *, gaussian_sxy: float, gaussian_compat: float,
                  bilateral_sxy: float, bilateral_srgb: float, bilateral_compat: float, device: str = 'cpu') -> Kernels:
    """Builds the pairwise terms of one image.

    Args:
        backend: From :func:`choose_backend`.
        image: uint8 [H, W, 3].
        gaussian_sxy: Standard deviation of the smoothness kernel, in pixels.
        gaussian_compat: Its weight; 0 leaves it out.
        bilateral_sxy: Standard deviation in position of the appearance kernel, in pixels.
        bilateral_srgb: Standard deviation in colour of the appearance kernel, in grey levels.
        bilateral_compat: Its weight; 0 leaves it out.
        device: Where torch works.

    Raises:
        UserError: If the standard deviations are too small for a lattice.
        ValueError: For another ``backend``, such as 'auto'.
    """
    if backend not in MODULES:
        raise ValueError(f'build_kernels: backend is one of {", ".join(MODULES)}, got {backend!r}')
    image = np.ascontiguousarray(image)
    if not image.flags.writeable:  # as tensors have to be
        image = image.copy()
    parameters = dict(gaussian_sxy=gaussian_sxy, gaussian_compat=gaussian_compat, bilateral_sxy=bilateral_sxy,
                      bilateral_srgb=bilateral_srgb, bilateral_compat=bilateral_compat)
    if backend == 'torch':
        return _TorchKernels(image, device, parameters)
    if backend == 'pydensecrf':
        return _PydensecrfKernels(image, parameters)
    from mmwsss.postprocessing.numba_crf import NumbaKernels  # numba is an optional dependency
    position = position_features(image.shape[:2], gaussian_sxy).numpy() if gaussian_compat > 0 else None
    appearance = None
    if bilateral_compat > 0:
        appearance = appearance_features(torch.from_numpy(image)[None], bilateral_sxy, bilateral_srgb).numpy()
    return NumbaKernels(position, appearance, gaussian_compat, bilateral_compat, image.shape[0] * image.shape[1])


class _TorchKernels:

    def __init__(self, image: np.ndarray, device: str, parameters: dict[str, float]) -> None:
        try:
            images = torch.from_numpy(image)[None].to(device)
        except RuntimeError as error:  # CUDA does not work in forked processes
            raise UserError(f'DenseCRF: device {device!r} cannot be used here ({str(error).splitlines()[0]}); with '
                            'worker processes off (num_workers=0) it can, or leave the device out') from error
        self.kernels = ImageKernels(images, **parameters)
        self.device = images.device

    def mean_field(self, energy: np.ndarray, iterations: int) -> np.ndarray:
        energies = torch.from_numpy(np.ascontiguousarray(energy)).to(self.device)
        result = self.kernels.mean_field(energies.view(1, len(energy), *self.kernels.shape[1:]), iterations)
        return result.view(energies.shape).cpu().numpy()


class _PydensecrfKernels:
    """pydensecrf's lattices belong to a number of labels: they are built anew when that changes."""

    def __init__(self, image: np.ndarray, parameters: dict[str, float]) -> None:
        self.image, self.parameters = image, parameters
        self.num_labels = self.crf = None

    def mean_field(self, energy: np.ndarray, iterations: int) -> np.ndarray:
        if self.num_labels != len(energy):
            self.crf, self.num_labels = self._build(len(energy)), len(energy)
        self.crf.setUnaryEnergy(np.ascontiguousarray(energy))
        return np.array(self.crf.inference(iterations), np.float32)

    def _build(self, num_labels: int) -> object:
        densecrf = importlib.import_module('pydensecrf.densecrf')
        height, width = self.image.shape[:2]
        crf = densecrf.DenseCRF2D(width, height, num_labels)
        p = self.parameters
        if p['gaussian_compat'] > 0:
            crf.addPairwiseGaussian(sxy=p['gaussian_sxy'], compat=p['gaussian_compat'])
        if p['bilateral_compat'] > 0:
            crf.addPairwiseBilateral(sxy=p['bilateral_sxy'], srgb=p['bilateral_srgb'], rgbim=self.image,
                                     compat=p['bilateral_compat'])
        return crf
