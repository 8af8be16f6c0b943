"""Draws one scene of the generated data: photograph, label map, saliency map.

The order is: which classes, how the picture is divided into backgrounds, distractors, objects from large to
small, light and noise. Everything follows from one random generator of (seed, split, index).
"""
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from mmwsss.datasets.synthetic.classes import class_look, has_habitat
from mmwsss.datasets.synthetic.paint import Painter, generic_background, habitat_background, smooth_noise

# (height, width) as shares of the long side.
SHAPES = ((.75, 1.), (1., .75), (2 / 3, 1.), (1., 2 / 3), (1., 1.), (.8, 1.))
MIN_OBJECT = 9  # pixels; below that the 255 rim leaves nothing of an object
MIN_STRIP = 28  # pixels; a picture is not divided into narrower backgrounds
IGNORE = 255


@dataclass
class Scene:
    """One generated image and everything that is known about it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W], 0 background, k + 1 class k, 255 rim.
        saliency: uint8 [H, W], 255 = salient; soft and imperfect, as a salient-object detector's.
        instance: uint8 [H, W], 0 none, i + 1 for ``object_classes[i]``; without rim.
        part: uint8 [H, W], 0 none, 1 body, 2 emblem.
        habitat: int16 [H, W], the class whose habitat it is, also under objects; -1 where it is nobody's.
        object_classes: Class of each object, far to near.
    """
    image: np.ndarray
    label: np.ndarray
    saliency: np.ndarray
    instance: np.ndarray
    part: np.ndarray
    habitat: np.ndarray
    object_classes: list[int]

    def classes(self) -> list[int]:
        """Returns the 0-based classes in the label map, ascending."""
        return [int(value) - 1 for value in np.unique(self.label) if value not in (0, IGNORE)]


@dataclass
class _Strip:
    """A part of the picture with one background: its classes, and (top, left, bottom, right) for objects."""
    classes: list[int]
    box: tuple[int, int, int, int]


def draw_scene(seed: int, split: str, index: int, num_classes: int, size: int | tuple[int, int],
               max_classes_per_image: int = 3, empty_habitats: float = .2, ignore_border: bool = True) -> Scene:
    """Draws scene ``index`` of a split; it depends on the arguments only.

    Objects measure 10 to 60 % of sqrt(H W) (less where their background is narrower, at least 9 pixels), and at
    least half of every object and of its emblem is visible.

    Args:
        seed: Seed of the data set.
        split: Name of the split.
        index: Number of the image in its split.
        num_classes: Classes to choose from.
        size: Long side of pictures of six shapes, or (H, W) of every picture; at least 16 pixels a side.
        max_classes_per_image: Most classes in one picture; one class is the most frequent case.
        empty_habitats: Share of pictures that also show the habitat of a class that is not there.
        ignore_border: Whether objects have a rim of 255 in the label map.
    """
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    height, width = _choose_shape(rng, size)
    classes = _choose_classes(rng, num_classes, max_classes_per_image)
    vacant = [k for k in range(num_classes) if has_habitat(k) and k not in classes]
    empty = int(rng.choice(vacant)) if vacant and rng.random() < empty_habitats else None
    strips, habitat = _divide(rng, classes, empty, height, width)

    image = np.empty((height, width, 3), np.float32)
    for owner in np.unique(habitat):
        ground = (generic_background(rng, height, width) if owner < 0 else
                  habitat_background(rng, class_look(int(owner)).habitat, height, width))
        np.copyto(image, ground, where=(habitat == owner)[..., None])

    painter = Painter(rng, image)
    for _ in range(rng.integers(2, 7)):
        painter.draw_distractor()
    for extent, class_id, box in _choose_objects(rng, strips, painter.side):
        painter.place_object(class_id, extent, box)
    return Scene(image=_photograph(rng, image),
                 label=_label_map(painter.instance, painter.object_classes, ignore_border),
                 saliency=_saliency_map(painter.saliency, painter.side),
                 instance=painter.instance, part=painter.part, habitat=habitat,
                 object_classes=painter.object_classes)


def _choose_shape(rng: np.random.Generator, size: int | tuple[int, int]) -> tuple[int, int]:
    share = SHAPES[rng.integers(len(SHAPES))]
    return (round(size * share[0]), round(size * share[1])) if isinstance(size, int) else size


def _choose_classes(rng: np.random.Generator, num_classes: int, most: int) -> list[int]:
    counts = np.arange(1, min(most, num_classes) + 1)
    chance = .55**counts
    number = rng.choice(counts, p=chance / chance.sum())
    return sorted(int(k) for k in rng.choice(num_classes, number, replace=False))


def _divide(rng: np.random.Generator, classes: list[int], empty: int | None, height: int,
            width: int) -> tuple[list[_Strip], np.ndarray]:
    """Gives each class with a habitat a strip of its own, the others one together, and one to an empty habitat.

    What does not fit into a tiny picture is left out of it.
    """
    groups = [(k, [k]) for k in classes if has_habitat(k)]
    if others := [k for k in classes if not has_habitat(k)]:
        groups.append((-1, others))
    groups = [groups[i] for i in rng.permutation(len(groups))]
    across = width > height or (width == height and bool(rng.random() < .5))
    length, breadth = (width, height) if across else (height, width)
    room = max(1, length // MIN_STRIP)
    groups = groups[:room]
    if empty is not None and len(groups) < room:
        groups.insert(rng.integers(len(groups) + 1), (empty, []))

    shares = rng.uniform(.8, 1.2, len(groups))
    bounds = np.round(np.cumsum(shares / shares.sum())[:-1] * length).astype(int)
    wave = .02 * length
    waves = wave * np.sin(2 * np.pi * (np.arange(breadth) / breadth * rng.uniform(1, 3) + rng.random()))
    # [breadth, length]: how many wavy bounds lie before a pixel.
    strip_of = sum((np.arange(length) + .5 > bound + waves[:, None]).astype(int) for bound in bounds) \
        if len(bounds) else np.zeros((breadth, length), int)
    owners = np.array([owner for owner, _ in groups], np.int16)
    habitat = owners[strip_of] if across else owners[strip_of.T]

    strips = []
    margin = int(np.ceil(wave)) + 2
    for (_, members), low, high in zip(groups, [-margin, *bounds], [*bounds, length + margin]):
        low, high = int(low) + margin, int(high) - margin
        strips.append(_Strip(members, (0, low, height, high) if across else (low, 0, high, width)))
    return strips, np.ascontiguousarray(habitat)


def _choose_objects(rng: np.random.Generator, strips: list[_Strip],
                    side: float) -> list[tuple[float, int, tuple[int, int, int, int]]]:
    """Chooses (extent in pixels, class, box) of the objects; large ones first, so that they stand behind."""
    objects = []
    for strip in strips:
        top, left, bottom, right = strip.box
        room = .95 * min(bottom - top, right - left)
        for class_id in strip.classes:
            for number in range(rng.choice([1, 2, 3], p=[.65, .25, .1])):
                extent = rng.uniform(.25 if number == 0 else .1, .6) * side
                objects.append((max(min(extent, room), MIN_OBJECT), class_id, strip.box))
    return sorted(objects, key=lambda item: -item[0])


def _label_map(instance: np.ndarray, object_classes: list[int], ignore_border: bool) -> np.ndarray:
    label = np.array([0] + [k + 1 for k in object_classes], np.uint8)[instance]
    if not ignore_border:
        return label
    thickness = 3 + 2 * (min(instance.shape) // 400)
    rim = cv2.morphologyEx(instance, cv2.MORPH_GRADIENT, np.ones((thickness, thickness), np.uint8)) > 0
    rimmed = np.where(rim, np.uint8(IGNORE), label)
    # A class that is nothing but rim (in tiny pictures) keeps its pixels: it is visible, so it is a label.
    lost = np.setdiff1d(label, rimmed)
    return np.where(np.isin(label, lost), label, rimmed)


def _saliency_map(saliency: np.ndarray, side: float) -> np.ndarray:
    soft = cv2.GaussianBlur(saliency, (0, 0), max(.5, .008 * side))
    return np.round(255 * soft).clip(0, 255).astype(np.uint8)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Uneven light, a colour cast, a slightly soft lens and sensor noise; float32 in, uint8 out."""
    height, width = image.shape[:2]
    light = rng.uniform(.7, 1.2) * (1 + .3 * smooth_noise(rng, height, width, 3))
    image = image * light[..., None] * rng.uniform(.93, 1.07, 3).astype(np.float32)
    image = cv2.GaussianBlur(image, (3, 3), rng.uniform(.4, .9))
    image += np.float32(rng.uniform(2, 9)) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.clip(0, 255).astype(np.uint8)
