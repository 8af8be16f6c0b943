import numpy as np

from mmwsss.visualization.boxes import FOUND, draw_boxes


def test_outlines():
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(image, [[3, 4, 10, 12], [0, 0, 0, 0]], FOUND)
    expected = image.copy()
    expected[4:12, 3:10] = FOUND
    expected[5:11, 4:9] = 0
    assert (drawn == expected).all() and not image.any()
    assert (draw_boxes(image, np.zeros((0, 4)), FOUND) == image).all()
