"""Paint for the generated data: backgrounds, materials, emblem textures, and the account of what is where."""
import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from mmwsss.datasets.synthetic.classes import MATERIALS, Habitat, class_look

BODY, EMBLEM = 1, 2
VISIBLE = .5  # share of every object, and of its emblem, that is seen at least


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Returns float32 [height, width] noise in about [-1, 1] with ``cells`` bumps along a side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def generic_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns a float32 [height, width, 3] background without a regular pattern, in dull random colours."""
    first, second = (255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(.1, .5), rng.uniform(.3, .85)),
                                    np.float32) for _ in range(2))
    share = .5 * smooth_noise(rng, height, width, 4) + .3 * smooth_noise(rng, height, width, 24)
    if rng.random() < .5:  # sky and ground
        horizon = height * rng.uniform(.25, .75) + .04 * height * smooth_noise(rng, 1, width, 5)
        share = .25 * share + .7 * np.where(np.arange(height)[:, None] < horizon, -1, 1).astype(np.float32)
    share = (.5 + .5 * share).clip(0, 1)
    ground = first + share[..., None] * (second - first)
    grain = rng.uniform(0, 14) * rng.standard_normal((height, width), dtype=np.float32)
    return ground + grain[..., None]


def habitat_background(rng: np.random.Generator, habitat: Habitat, height: int, width: int) -> np.ndarray:
    """Returns a float32 [height, width, 3] background: the habitat's pattern at a random scale and tilt."""
    period = max(4., rng.uniform(.06, .1) * np.sqrt(height * width))
    angle = rng.uniform(-.15, .15)
    y = np.arange(height, dtype=np.float32)[:, None] + np.float32(100 * rng.random())
    x = np.arange(width, dtype=np.float32)[None] + np.float32(100 * rng.random())
    x, y = ((np.cos(angle) * x - np.sin(angle) * y) / period, (np.sin(angle) * x + np.cos(angle) * y) / period)
    share = _pattern(habitat.pattern, x, y) + .25 * smooth_noise(rng, height, width, 6)
    first, second = (np.array(colour, np.float32) for colour in habitat.colours)
    return first + share.clip(0, 1)[..., None].astype(np.float32) * (second - first)


def _pattern(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of the second colour, in [0, 1], at (x, y) in units of the pattern's period."""
    turn = 2 * np.pi
    if name == 'waves':
        return .5 + .5 * np.sin(turn * (y + .3 * np.sin(turn * x / 3)))
    if name == 'planks':
        return (x % 1 > .3).astype(np.float32)
    if name == 'dots':
        return ((x % 1 - .5)**2 + (y % 1 - .5)**2 < .1).astype(np.float32)
    if name == 'weave':
        return .5 + .5 * np.sin(turn * (x + y) / 2) * np.sin(turn * (x - y) / 2)
    if name == 'bricks':
        row = np.floor(y)
        return ((y % 1 > .2) & ((x / 2 + row / 2) % 1 > .1)).astype(np.float32)
    assert name == 'checks'
    return (np.floor(x) + np.floor(y)) % 2


def emblem_texture(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Says where an emblem has its second colour, bool, at (u, v) in units of its radius."""
    if name == 'stripes':
        return np.floor(2.5 * (u + 1)) % 2 == 1
    if name == 'checks':
        return (np.floor(2 * u) + np.floor(2 * v)) % 2 == 1
    if name == 'rings':
        return np.floor(3.2 * np.hypot(u, v)) % 2 == 1
    assert name == 'halves'
    return v > 0


@dataclass
class _Stencil:
    """Where in the picture a shape is: bool masks in the window (rows, columns), clipped to the picture."""
    rows: slice
    columns: slice
    mask: np.ndarray
    emblem: np.ndarray
    area: int  # of the whole shape, also outside the picture
    emblem_area: int


def _stencil(body: np.ndarray, emblem: np.ndarray | None, height: int, width: int) -> _Stencil:
    """Fills polygons [P, 2] of (x, y) pixels."""
    corners = body if emblem is None else np.concatenate([body, emblem])
    (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    origin = np.array([left, top])

    def fill(polygon: np.ndarray | None) -> np.ndarray:
        mask = np.zeros((int(bottom - top) + 1, int(right - left) + 1), np.uint8)
        if polygon is not None:
            cv2.fillPoly(mask, [np.round(polygon - origin).astype(np.int32)], 1)
        return mask.astype(bool)

    emblem_mask = fill(emblem)
    mask = fill(body) | emblem_mask
    left, top = int(left), int(top)
    rows = slice(*np.clip([top, top + mask.shape[0]], 0, height).tolist())
    columns = slice(*np.clip([left, left + mask.shape[1]], 0, width).tolist())
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    return _Stencil(rows, columns, mask[inside], emblem_mask[inside], int(mask.sum()), int(emblem_mask.sum()))


class Painter:
    """Paints distractors and objects into a picture and keeps account of what is where.

    Args:
        rng: Source of every choice.
        image: float32 [H, W, 3], painted in place.

    Attributes:
        instance: uint8 [H, W], 0 none, i + 1 for object i.
        part: uint8 [H, W], 0 none, 1 body, 2 emblem.
        saliency: float32 [H, W] in [0, 1].
        object_classes: Class of each object, far to near.
    """

    def __init__(self, rng: np.random.Generator, image: np.ndarray):
        self.rng = rng
        self.image = image
        self.height, self.width = image.shape[:2]
        self.side = float(np.sqrt(self.height * self.width))
        self.instance = np.zeros((self.height, self.width), np.uint8)
        self.part = np.zeros((self.height, self.width), np.uint8)
        self.saliency = np.zeros((self.height, self.width), np.float32)
        self.object_classes: list[int] = []
        self._stencils: list[_Stencil] = []

    def draw_distractor(self) -> None:
        """A blob of a body material that belongs to no class; sometimes it catches the eye."""
        rng = self.rng
        count = rng.integers(3, 9)
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(.5, 1, (count, 1))
        points = points * rng.uniform(.04, .16) * self.side + rng.random(2) * (self.width, self.height)
        stencil = _stencil(points, None, self.height, self.width)
        self._fill(stencil, stencil.mask, MATERIALS[rng.integers(len(MATERIALS))])
        if rng.random() < .3:
            self.saliency[stencil.rows, stencil.columns][stencil.mask] = rng.uniform(.2, .5)

    def place_object(self, class_id: int, extent: float, box: tuple[int, int, int, int]) -> bool:
        """Paints an object if a place is found where it and the objects behind it stay visible.

        Args:
            class_id: Its class.
            extent: The longer side of its bounding box in pixels.
            box: (top, left, bottom, right) where it may be; only an edge of the picture may cut it.

        Returns:
            Whether it was painted. Always true for the first object in a box that is larger than it.
        """
        look = class_look(class_id)
        flip = np.diag([self.rng.choice([-1., 1.]), 1.])
        for overshoot in (.2, .2, .2, .2, 0., 0.):
            angle = self.rng.uniform(-.5, .5)
            turn = flip @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            emblem = look.anchor + look.radius * look.emblem
            corners = np.concatenate([look.outline, emblem]) @ turn
            turn *= extent / np.ptp(corners, axis=0).max()
            shift = self._choose_place(np.concatenate([look.outline, emblem]) @ turn, box, overshoot)
            stencil = _stencil(look.outline @ turn + shift, emblem @ turn + shift, self.height, self.width)
            if self._visible_enough(stencil):
                self._paint(class_id, stencil, turn, shift)
                return True
        return False

    def _choose_place(self, corners: np.ndarray, box: tuple[int, int, int, int], overshoot: float) -> np.ndarray:
        """Returns the (x, y) shift that brings the corners into the box."""
        top, left, bottom, right = box
        low, high = corners.min(axis=0), corners.max(axis=0)
        over = overshoot * (high - low)
        start = np.array([left, top]) - low - over * (left == 0, top == 0)
        end = np.array([right, bottom]) - 1 - high + over * (right == self.width, bottom == self.height)
        # An object larger than its box (only in tiny pictures) is centred.
        middle = (start + end) / 2
        return self.rng.uniform(np.where(start > end, middle, start), np.where(start > end, middle, end))

    def _visible_enough(self, new: _Stencil) -> bool:
        """True if of the new object, of all behind it, and of their emblems a share of VISIBLE would be seen."""
        if new.mask.sum() < VISIBLE * new.area or new.emblem.sum() < VISIBLE * new.emblem_area:
            return False
        for index, old in enumerate(self._stencils):
            seen = self.instance[old.rows, old.columns] == index + 1
            hidden = np.zeros_like(self.instance, dtype=bool)
            hidden[new.rows, new.columns] = new.mask
            seen &= ~hidden[old.rows, old.columns]
            if seen.sum() < VISIBLE * old.area or (seen & old.emblem).sum() < VISIBLE * old.emblem_area:
                return False
        return True

    def _paint(self, class_id: int, stencil: _Stencil, turn: np.ndarray, shift: np.ndarray) -> None:
        rng, look = self.rng, class_look(class_id)
        window = (stencil.rows, stencil.columns)
        self._fill(stencil, stencil.mask, look.material)

        y, x = np.nonzero(stencil.emblem)
        pixels = np.stack([x + stencil.columns.start, y + stencil.rows.start], axis=1)
        u, v = (((pixels - shift) @ np.linalg.inv(turn) - look.anchor) / look.radius).T
        colours = np.array(look.colours, np.float32) * rng.uniform(.85, 1.)
        self.image[window][stencil.emblem] = colours[emblem_texture(look.texture, u, v).astype(int)]

        self._stencils.append(stencil)
        self.object_classes.append(class_id)
        self.instance[window][stencil.mask] = len(self.object_classes)
        self.part[window][stencil.mask] = BODY
        self.part[window][stencil.emblem] = EMBLEM
        self.saliency[window][stencil.mask] = 1. if rng.random() < .7 else rng.uniform(.5, 1.)

    def _fill(self, stencil: _Stencil, mask: np.ndarray, material: tuple[int, int, int]) -> None:
        """A material has the same colour whoever is made of it; light falls on it from one side."""
        rng = self.rng
        height, width = mask.shape
        if mask.size == 0:
            return
        colour = np.array(material, np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
        shade = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-.12, .12) \
            + np.linspace(-1, 1, width, dtype=np.float32) * rng.uniform(-.12, .12) \
            + .06 * smooth_noise(rng, height, width, 8)
        self.image[stencil.rows, stencil.columns][mask] = (colour * (1 + shade[..., None]))[mask]
