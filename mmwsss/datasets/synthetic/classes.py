"""How the classes of the generated data look.

A class is described by its index alone, so class 3 looks the same in a data set of 5 and of 200 classes.
It has a large plain body (outline of its own, material shared with other classes) and a small emblem
(shape, two colours and texture of its own): the emblem is what a classifier learns first, so CAMs find it and
miss the body. Every third class also has a habitat, a background that belongs to no other class: CAMs spill
over onto it.
"""
import colorsys
import functools
from dataclasses import dataclass

import numpy as np

MAX_CLASSES = 200
HABITAT_PERIOD = 3
GOLDEN_RATIO = 0.618033988749895

# Body materials, RGB. Classes 2i and 2i + 1 share one, and distractors are made of them too.
MATERIALS = ((150, 148, 145), (164, 128, 88), (112, 92, 78), (176, 164, 134), (104, 118, 108), (128, 116, 140))

EMBLEM_SHAPES = ('disc', 'square', 'triangle', 'star', 'cross', 'diamond', 'hexagon', 'spark')
EMBLEM_TEXTURES = ('stripes', 'checks', 'rings', 'halves')
HABITAT_PATTERNS = ('waves', 'planks', 'dots', 'weave', 'bricks', 'checks')
# Two colours each of the first habitats: water, railway, desert, ice.
HABITAT_COLOURS = (((28, 84, 150), (70, 140, 200)), ((92, 70, 56), (150, 132, 118)),
                   ((206, 168, 96), (178, 132, 66)), ((120, 164, 190), (196, 216, 230)))

# Name, outline of the body (x right, y down), centre of the emblem, its radius.
NAMED = (
    ('boat', [(-1, 0), (-.05, 0), (-.05, -.3), (.05, -.3), (.05, 0), (1, 0), (.75, .55), (-.75, .55)], (0, -.45), .3),
    ('dog', [(-1, -.5), (-.72, -.2), (.5, -.25), (.7, -.1), (.6, .15), (.58, .7), (.4, .7), (.38, .25), (-.35, .25),
             (-.4, .7), (-.6, .7), (-.68, .1), (-.85, -.1)], (.72, -.3), .27),
    ('cat', [(-.35, .8), (-.55, .5), (-.45, 0), (-.2, -.35), (.2, -.35), (.45, 0), (.5, .5), (.9, .3), (1, .4),
             (.6, .8)], (0, -.5), .3),
    ('train', [(-1, -.34), (.6, -.34), (.95, .05), (1, .3), (.75, .3), (.7, .44), (.55, .44), (.5, .3), (-.5, .3),
               (-.55, .44), (-.7, .44), (-.75, .3), (-1, .3)], (.6, -.02), .23),
    ('bird', [(-1, -.1), (-.5, -.15), (-.2, -.4), (-.35, -.95), (.15, -.45), (.6, -.2), (.55, .2), (.1, .4),
              (-.5, .2), (-1, .25)], (.65, -.12), .24),
    ('fish', [(.9, 0), (.5, -.36), (0, -.44), (-.5, -.15), (-1, -.45), (-.85, 0), (-1, .45), (-.5, .15), (0, .44),
              (.5, .36)], (.5, 0), .24),
    ('camel', [(-1, 0), (-.75, -.3), (-.55, -.65), (-.35, -.3), (-.1, -.3), (.1, -.65), (.3, -.3), (.55, -.2),
               (.75, -.7), (.95, -.65), (.75, .1), (.55, .2), (.5, .8), (.35, .8), (.3, .3), (-.5, .3), (-.55, .8),
               (-.7, .8), (-.8, .2)], (.86, -.66), .25),
    ('car', [(-1, .15), (-.95, -.15), (-.55, -.2), (-.3, -.55), (.35, -.55), (.6, -.2), (1, -.1), (1, .2), (.75, .2),
             (.65, .4), (.45, .4), (.35, .2), (-.35, .2), (-.45, .4), (-.65, .4), (-.75, .2), (-1, .2)],
     (0, -.28), .23),
    ('tree', [(-.12, 1), (-.12, .5), (-.7, .5), (-.3, 0), (-.55, 0), (0, -.9), (.55, 0), (.3, 0), (.7, .5),
              (.12, .5), (.12, 1)], (0, -.7), .25),
    ('penguin', [(-.3, .9), (-.5, .5), (-.8, .3), (-.45, -.1), (-.3, -.5), (.3, -.5), (.45, -.1), (.8, .3),
                 (.5, .5), (.3, .9)], (0, -.55), .3),
)


@dataclass(frozen=True)
class Habitat:
    """A background of its own: one of :data:`HABITAT_PATTERNS` in two RGB colours."""
    pattern: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True, eq=False)
class ClassLook:
    """What one class looks like.

    Attributes:
        name: The class name.
        outline: float64 [P, 2], (x, y) of the body's corners in [-1, 1], y down.
        anchor: (x, y) of the emblem's centre in the same coordinates.
        radius: Half of the emblem's size, same unit.
        emblem: float64 [Q, 2], corners of the emblem around (0, 0) with radius 1.
        texture: One of :data:`EMBLEM_TEXTURES`.
        colours: Two RGB colours of the emblem.
        material: RGB colour of the body, shared with other classes.
        habitat: The background on which the class always stands, or None.
    """
    name: str
    outline: np.ndarray
    anchor: tuple[float, float]
    radius: float
    emblem: np.ndarray
    texture: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    material: tuple[int, int, int]
    habitat: Habitat | None


def class_names(num_classes: int) -> list[str]:
    """Returns the names of the first ``num_classes`` classes: nice ones, then ``class_10`` and so on."""
    return [NAMED[k][0] if k < len(NAMED) else f'class_{k:02d}' for k in range(num_classes)]


def has_habitat(class_id: int) -> bool:
    """Says whether the class always stands on a background of its own."""
    return class_id % HABITAT_PERIOD == 0


@functools.cache
def class_look(class_id: int) -> ClassLook:
    """Returns the look of a class; it depends on nothing but the index.

    Args:
        class_id: 0-based foreground class, below :data:`MAX_CLASSES`.
    """
    if not 0 <= class_id < MAX_CLASSES:
        raise ValueError(f'class_id must be in [0, {MAX_CLASSES}), got {class_id}')
    if class_id < len(NAMED):
        _, outline, anchor, radius = NAMED[class_id]
        outline = np.array(outline, np.float64)
    else:
        outline, anchor, radius = _random_body(class_id)
    hue = class_id * GOLDEN_RATIO % 1
    # The second colour differs in brightness too, so that the texture survives as grey.
    colours = (_rgb(hue, .95, .95), _rgb(hue + .45 + .1 * (class_id % 2), .8, .3))
    return ClassLook(
        name=class_names(class_id + 1)[-1], outline=outline, anchor=anchor, radius=radius,
        emblem=_emblem(EMBLEM_SHAPES[class_id % len(EMBLEM_SHAPES)]),
        texture=EMBLEM_TEXTURES[(class_id + class_id // len(EMBLEM_SHAPES)) % len(EMBLEM_TEXTURES)],
        colours=colours, material=MATERIALS[class_id // 2 % len(MATERIALS)],
        habitat=_habitat(class_id // HABITAT_PERIOD) if has_habitat(class_id) else None)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _habitat(index: int) -> Habitat:
    if index < len(HABITAT_COLOURS):
        return Habitat(HABITAT_PATTERNS[index], HABITAT_COLOURS[index])
    hue = (.1 + index * GOLDEN_RATIO) % 1
    return Habitat(HABITAT_PATTERNS[index % len(HABITAT_PATTERNS)], (_rgb(hue, .55, .55), _rgb(hue + .06, .45, .85)))


def _random_body(class_id: int) -> tuple[np.ndarray, tuple[float, float], float]:
    """A closed curve with a few harmonics; the emblem sits where it reaches farthest."""
    rng = np.random.default_rng([7, class_id])
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    distance = np.ones_like(angles)
    for harmonic in (2, 3, 4, 5):
        distance += rng.uniform(-.3, .3) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    distance = distance.clip(.3)
    aspect = rng.uniform(.6, 1.)
    outline = distance[:, None] * np.stack([np.cos(angles), aspect * np.sin(angles)], axis=1)
    outline /= np.abs(outline).max()
    farthest = outline[(outline**2).sum(axis=1).argmax()]
    return outline, (float(.8 * farthest[0]), float(.8 * farthest[1])), .26


def _emblem(shape: str) -> np.ndarray:
    corners = {'disc': 24, 'square': 4, 'triangle': 3, 'star': 10, 'diamond': 4, 'hexagon': 6, 'spark': 8}
    if shape == 'cross':
        arm, end = .38, 1.
        return np.array([(-arm, -end), (arm, -end), (arm, -arm), (end, -arm), (end, arm), (arm, arm), (arm, end),
                         (-arm, end), (-arm, arm), (-end, arm), (-end, -arm), (-arm, -arm)])
    count = corners[shape]
    start = np.pi / 4 if shape == 'square' else -np.pi / 2
    angles = start + 2 * np.pi * np.arange(count) / count
    distance = np.ones(count)
    distance[1::2] = {'star': .5, 'spark': .42, 'diamond': .6}.get(shape, 1.)
    return distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
