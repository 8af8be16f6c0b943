"""Boxes over photographs."""
import cv2
import numpy as np

GROUND_TRUTH, FOUND = (60, 230, 60), (255, 60, 60)  # green and red


def draw_boxes(image: np.ndarray, boxes: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Draws the outlines of boxes.

    Args:
        image: uint8 [H, W, 3] RGB.
        boxes: [M, 4] (x0, y0, x1, y1) in pixels, x1 and y1 excluded; empty ones are left out.
        colour: RGB.

    Returns:
        A new picture, uint8 [H, W, 3] RGB.
    """
    result = np.ascontiguousarray(image).copy()
    thickness = max(1, round(max(result.shape[:2]) / 150))
    for x0, y0, x1, y1 in np.asarray(boxes).reshape(-1, 4).round().astype(int).tolist():
        if x1 > x0 and y1 > y0:
            cv2.rectangle(result, (x0, y0), (x1 - 1, y1 - 1), colour, thickness)
    return result
