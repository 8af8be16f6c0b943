"""AffinityNet and IRNet from their method pages by loops over images and pairs of pixels: slow and obvious."""
import torch

EPS = 1e-5


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_labels(*shape, seed=0):
    """Background, three classes and ignored pixels."""
    values = torch.tensor([0, 0, 1, 2, 254, 255])
    return values[torch.randint(0, len(values), shape, generator=torch.Generator().manual_seed(seed))]


def half_disc(radius):
    return ([(0, x) for x in range(1, radius)]
            + [(y, x) for y in range(1, radius) for x in range(1 - radius, radius) if x**2 + y**2 < radius**2])


def pairs(labels, offsets, border='all'):
    """Yields (kind, n, p, (y, x), (y', x')) of every pair that counts; kinds are bg, fg and neg."""
    height, width = labels.shape[1:]
    margin = max((max(abs(dy), abs(dx)) for dy, dx in offsets), default=0)
    for n in range(len(labels)):
        for y in range(height):
            for x in range(width):
                if border == 'crop' and (y + margin >= height or x < margin or x + margin >= width):
                    continue
                for p, (dy, dx) in enumerate(offsets):
                    if not (0 <= y + dy < height and 0 <= x + dx < width):
                        continue
                    one, other = int(labels[n, y, x]), int(labels[n, y + dy, x + dx])
                    if 255 not in (one, other):
                        kind = 'neg' if one != other else 'fg' if one else 'bg'
                        yield kind, n, p, (y, x), (y + dy, x + dx)


def mean(values):
    return sum(values) / len(values) if values else torch.zeros((), dtype=torch.float64)


def affinity_terms(affinity, labels, offsets, border='all'):
    """Means of bg, fg and neg; ``affinity`` is a function of (n, p, first, second) or planes."""
    found = dict(bg=[], fg=[], neg=[])
    for kind, n, p, first, second in pairs(labels, offsets, border):
        value = affinity(n, p, first, second) if callable(affinity) else affinity[n, p, first[0], first[1]]
        found[kind].append(-torch.log(1 + EPS - value if kind == 'neg' else value + EPS))
    return [mean(found[kind]) for kind in ('bg', 'fg', 'neg')]


def affinity_loss(*args):
    background, foreground, negative = affinity_terms(*args)
    return background / 4 + foreground / 4 + negative / 2


def displacement_terms(displacement, labels, offsets, border='all'):
    """Means of fg and bg."""
    found = dict(bg=[], fg=[])
    for kind, n, _, first, second in pairs(labels, offsets, border):
        for axis in range(2) if kind != 'neg' else ():
            difference = displacement[(n, axis, *first)] - displacement[(n, axis, *second)]
            target = second[axis] - first[axis] if kind == 'fg' else 0
            found[kind].append(abs(difference - target))
    return [mean(found[kind]) for kind in ('fg', 'bg')]


def displacement_loss(*args):
    return sum(displacement_terms(*args)) / 2


def feature_affinity(features):
    return lambda n, p, first, second: torch.exp(-(features[(n, slice(None), *first)]
                                                   - features[(n, slice(None), *second)]).abs().mean())


def path(first, second):
    """Lattice points with distance < 1 to the segment."""
    (y0, x0), (y1, x1) = first, second
    length = (y1 - y0)**2 + (x1 - x0)**2
    for y in range(min(y0, y1) - 1, max(y0, y1) + 2):
        for x in range(min(x0, x1) - 1, max(x0, x1) + 2):
            along = min(length, max(0, (y - y0) * (y1 - y0) + (x - x0) * (x1 - x0)))  # times length
            squared = (length * (y - y0) - along * (y1 - y0))**2 + (length * (x - x0) - along * (x1 - x0))**2
            if squared < length**2:
                yield y, x


def edge_affinity(edge):
    return lambda n, p, first, second: 1 - max(edge[n, 0, y, x] for y, x in path(first, second))


def dense_walk(affinity, maps, offsets, beta, steps, border='all'):
    """x^T T^s with the n x n matrix T; ``affinity`` P x h x w, ``maps`` K x h x w."""
    height, width = maps.shape[1:]
    matrix = torch.eye(height * width, dtype=torch.float64)
    everything = torch.zeros(1, height, width)
    for _, _, p, (y, x), (other_y, other_x) in pairs(everything, offsets, border):
        one, other = y * width + x, other_y * width + other_x
        matrix[one, other] = matrix[other, one] = affinity[p, y, x].double()**beta
    matrix = matrix / matrix.sum(dim=0)
    return (maps.double().flatten(1) @ torch.linalg.matrix_power(matrix, steps)).view(maps.shape)
