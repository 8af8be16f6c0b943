"""Shapes that were drawn in a labelling program, as masks."""
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmwsss.datasets.coco.coco_labels import class_name


@dataclass(eq=False)
class Shape:
    """A shape that was drawn around one object.

    Attributes:
        name: Class name, as :func:`~mmwsss.datasets.coco.coco_labels.class_name` has it.
        kind: ``'polygon'``, ``'circle'``, ``'mask'``; or anything else (boxes, lines, points), which is no area of the
            object.
        points: float [P, 2], (x, y) of the corners of a polygon, or of the centre of a circle and a point on it; the
            left upper corner of a mask.
        mask: bool [h, w] of a mask.
    """
    name: str
    kind: str
    points: np.ndarray
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.name = class_name(self.name)

    @property
    def is_area(self) -> bool:
        """Whether the pixels of the object are known."""
        return self.kind == 'mask' or (self.kind == 'polygon' and len(self.points) > 2) or (
            self.kind == 'circle' and len(self.points) == 2)

    def draw(self, height: int, width: int) -> np.ndarray:
        """Returns bool [height, width], as labelme draws it: with its outline."""
        if self.kind == 'mask':
            area = np.zeros((height, width), bool)
            x, y = (round(value) for value in self.points[0])
            rows, columns = (slice(max(0, first), max(0, first + side)) for first, side in
                             zip((y, x), self.mask.shape))
            part = self.mask[max(0, -y):, max(0, -x):]
            target = area[rows, columns]
            target[:] = part[:target.shape[0], :target.shape[1]]
            return area
        image = Image.new('1', (width, height))
        draw, points = ImageDraw.Draw(image), [tuple(point) for point in self.points.tolist()]
        if self.kind == 'circle':
            (x, y), radius = points[0], float(np.hypot(*(self.points[1] - self.points[0])))
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
        else:
            draw.polygon(points, outline=1, fill=1)
        return np.array(image)
