"""Salient object detection by an ONNX model of the U^2-Net family, computed by OpenCV."""
import os
from pathlib import Path

import cv2
import numpy as np

from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError

INPUT_SIZE = 320  # what U^2-Net was trained at
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
# The largest difference between outputs in [0, 1] that is rounding and not another map: half a step of the 8-bit map.
SAME_OUTPUT = 0.5 / 255
MODEL_SOURCE = ('It needs a saliency model in ONNX format, such as u2net.onnx or u2netp.onnx (the small one): networks '
                'of U^2-Net (Qin et al., https://github.com/xuebinqin/U-2-Net), which the rembg project releases as '
                'ONNX files (https://github.com/danielgatis/rembg/releases)')


def normalize_input(images: np.ndarray) -> np.ndarray:
    """Brings images to U^2-Net's input: divided by the image's maximum, then ImageNet's mean and standard deviation.

    A black image stays black (it is divided by one).

    Args:
        images: uint8 [N, S, S, 3], RGB.

    Returns:
        float32 [N, 3, S, S].
    """
    pixels = images.astype(np.float32)
    pixels /= np.maximum(pixels.max(axis=(1, 2, 3), keepdims=True), 1)
    return np.ascontiguousarray(((pixels - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2))


def to_saliency(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turns a network's output into a saliency map: ``(p - min) / (max - min)``, resized bilinearly.

    Args:
        output: float32 [S, S], finite.
        size: (H, W) of the image.

    Returns:
        uint8 [H, W], 255 = salient; all zero where the output is constant.
    """
    low, high = output.min(), output.max()
    if low == high:
        return np.zeros(size, np.uint8)
    unit = (output - low) / (high - low)
    return np.rint(255 * resize_cam(unit[None], size)[0]).astype(np.uint8)


class OnnxSaliency:
    """A saliency network: images in, its first output out.

    Many exported files declare a batch of one image. OpenCV runs larger batches through most of them; here this is
    tried on noise, and believed where an image gets in a batch the map that it gets alone.

    Args:
        path: The ONNX file.
        size: Height and width of the network's input.
        batch_size: How many images to compute at a time.

    Attributes:
        batch_size: As given, or 1 for a network that takes one image at a time.

    Raises:
        UserError: If the file is missing, is no ONNX model that OpenCV can run, or if its first output is not one
            map for an image.
    """

    def __init__(self, path: str | os.PathLike, size: int = INPUT_SIZE, batch_size: int = 1) -> None:
        self.path = Path(path)
        self.size = size
        self.batch_size = 1
        self._net = self._read()
        noise = np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)
        try:
            alone = self._run(noise[1:])
        except cv2.error as error:
            raise UserError(f'{path}: OpenCV {cv2.__version__} cannot run it on an input of 1 x 3 x {size} x {size} '
                            f'({_reason(error)}); it must be a saliency model, and the size (--size) the one that it '
                            f'was exported for. {MODEL_SOURCE}') from error
        if alone.shape != (1, 1, size, size):
            raise UserError(f'{path}: is no saliency model: its first output is {_by(alone.shape)} for an input of '
                            f'1 x 3 x {size} x {size}, instead of 1 x 1 x {size} x {size}. {MODEL_SOURCE}')
        if batch_size > 1 and self._takes_batches(noise, alone):
            self.batch_size = batch_size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Computes the first output.

        Args:
            images: uint8 [N, size, size, 3], RGB.

        Returns:
            float32 [N, size, size], as the network gives it.
        """
        inputs = normalize_input(images)
        outputs = [self._run(inputs[i:i + self.batch_size]) for i in range(0, len(inputs), self.batch_size)]
        return np.concatenate(outputs)[:, 0]

    def _read(self) -> cv2.dnn.Net:
        if not self.path.is_file():
            raise UserError(f'{self.path}: no such model file. {MODEL_SOURCE}')
        try:
            return cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise UserError(f'{self.path}: is no ONNX model that OpenCV {cv2.__version__} can read '
                            f'({_reason(error)}). {MODEL_SOURCE}') from error

    def _run(self, inputs: np.ndarray) -> np.ndarray:
        self._net.setInput(inputs)
        # The others, where there are any, are the side outputs of deep supervision.
        first = self._net.getUnconnectedOutLayersNames()[0]
        return self._net.forward(first)

    def _takes_batches(self, noise: np.ndarray, alone: np.ndarray) -> bool:
        try:
            together = self._run(noise)
        except cv2.error:
            self._net = self._read()  # not to rely on a network that has failed half-way
            return False
        return together.shape == (2, *alone.shape[1:]) and bool(np.abs(together[1] - alone[0]).max() <= SAME_OUTPUT)


def _by(shape: tuple[int, ...]) -> str:
    return ' x '.join(map(str, shape)) or 'one number'


def _reason(error: cv2.error) -> str:
    return ' '.join((getattr(error, 'err', '') or str(error)).split())
