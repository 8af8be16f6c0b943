"""What test_dense_crf.py, which compares the backends with each other, does not need."""
import numpy as np
import pytest

from mmwsss.postprocessing.crf_backends import build_kernels


@pytest.mark.parametrize('backend', ['auto', 'Torch', ''])
def test_kernels_of_an_unknown_backend_are_refused(backend):
    with pytest.raises(ValueError, match=f"backend is one of numba, pydensecrf, torch, got '{backend}'"):
        build_kernels(backend, np.zeros((4, 5, 3), np.uint8), gaussian_sxy=3, gaussian_compat=3, bilateral_sxy=80,
                      bilateral_srgb=13, bilateral_compat=10)
