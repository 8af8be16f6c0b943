"""Mean-field inference in a dense CRF, in plain PyTorch operations: any device, and batches of images."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmwsss.postprocessing.permutohedral import SymmetricKernel

# A pairwise term: the weight of the Potts model, and K @ values of values [N, L].
Term = tuple[float, Callable[[Tensor], Tensor]]


def mean_field(energy: Tensor, terms: Sequence[Term], iterations: int) -> Tensor:
    """Mean-field inference with the Potts model, eq. 4 of Krähenbühl and Koltun (NIPS 2011).

    ``Q = softmax(-U)``, then ``iterations`` times ``Q = softmax(-U + sum_m w_m K_m Q)``, all points at once.

    Args:
        energy: Unary energies U, [N, L]; infinite where a label is ruled out (not for all labels of a point).
        terms: The pairwise terms.
        iterations: At least 0.

    Returns:
        Probabilities, [N, L].
    """
    probabilities = torch.softmax(-energy, dim=1)
    for _ in range(iterations):
        logits = -energy
        for weight, kernel in terms:
            logits += weight * kernel(probabilities)
        probabilities = torch.softmax(logits, dim=1)
    return probabilities


def position_features(size: tuple[int, int], sxy: float, num_images: int = 1, device: str | torch.device = 'cpu'
                      ) -> Tensor:
    """Features of the smoothness kernel: positions (x, y) in standard deviations.

    Args:
        size: (H, W).
        sxy: Standard deviation, in pixels.
        num_images: The positions are repeated so often.
        device: Where to put them.

    Returns:
        float32 [num_images * H * W, 2], row by row.
    """
    y, x = (torch.arange(n, dtype=torch.float32, device=device) / torch.tensor(sxy, dtype=torch.float32, device=device)
            for n in size)
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return grid.expand(num_images, -1, -1, -1).reshape(-1, 2)


def appearance_features(images: Tensor, sxy: float, srgb: float) -> Tensor:
    """Features of the appearance kernel: positions and colours in standard deviations.

    Args:
        images: uint8 [B, H, W, 3].
        sxy: Standard deviation in position, in pixels.
        srgb: Standard deviation in colour, in grey levels.

    Returns:
        float32 [B * H * W, 5]: x, y and the three colours.
    """
    colour = images.reshape(-1, 3).float() / torch.tensor(srgb, dtype=torch.float32, device=images.device)
    return torch.cat([position_features(images.shape[1:3], sxy, len(images), images.device), colour], dim=1)


class ImageKernels:
    """The two pairwise terms of a batch of images of one size, for any number of CRFs on them.

    Args:
        images: uint8 [B, H, W, 3], on the device that is to work.
        gaussian_sxy: Standard deviation of the smoothness kernel, in pixels.
        gaussian_compat: Its weight; 0 leaves it out.
        bilateral_sxy: Standard deviation in position of the appearance kernel, in pixels.
        bilateral_srgb: Standard deviation in colour of the appearance kernel, in grey levels.
        bilateral_compat: Its weight; 0 leaves it out.
    """

    def __init__(self, images: Tensor, *, gaussian_sxy: float, gaussian_compat: float, bilateral_sxy: float,
                 bilateral_srgb: float, bilateral_compat: float) -> None:
        self.shape = tuple(images.shape[:3])
        num_images, height, width = self.shape
        number = None if num_images == 1 else torch.arange(
            num_images, device=images.device).repeat_interleave(height * width)
        self.terms: list[Term] = []
        if gaussian_compat > 0:
            features = position_features((height, width), gaussian_sxy, num_images, images.device)
            self.terms.append((gaussian_compat, SymmetricKernel(features, number)))
        if bilateral_compat > 0:
            features = appearance_features(images, bilateral_sxy, bilateral_srgb)
            self.terms.append((bilateral_compat, SymmetricKernel(features, number)))

    @torch.no_grad()
    def mean_field(self, energy: Tensor, iterations: int) -> Tensor:
        """Runs :func:`mean_field`.

        Args:
            energy: Unary energies, float32 [B, L, H, W], on the images' device; infinite for labels that are not to
                compete in an image.
            iterations: At least 0.

        Returns:
            Probabilities, float32 [B, L, H, W].

        Raises:
            ValueError: If the energies are of other images.
        """
        num_images, height, width = self.shape
        if energy.ndim != 4 or (len(energy), *energy.shape[2:]) != self.shape:
            raise ValueError(f'the kernels are of {num_images} images of {height} x {width}, the energies have the '
                             f'shape {list(energy.shape)}')
        flat = energy.permute(0, 2, 3, 1).reshape(-1, energy.shape[1])
        result = mean_field(flat, self.terms, iterations)
        return result.view(num_images, height, width, -1).permute(0, 3, 1, 2).contiguous()
