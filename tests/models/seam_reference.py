"""SEAM from its method page and its paper by loops over images, classes and positions, in float64: slow and obvious."""
import math

import torch
from torch import Tensor

EPS = 1e-5


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positions(size):
    return [(y, x) for y in range(size[0]) for x in range(size[1])]


def resize(maps, size):
    """Bilinear with aligned corners: first and last position stay where they are."""
    def shares(old, new):
        weights = torch.zeros(new, old, dtype=torch.float64)
        for i in range(new):
            position = i * (old - 1) / (new - 1) if new > 1 else 0.0
            before = min(int(position), old - 1)
            weights[i, before] += 1 - (position - before)
            weights[i, min(before + 1, old - 1)] += position - before
        return weights
    return torch.einsum('ih,nchw,jw->ncij', shares(maps.shape[2], size[0]), maps, shares(maps.shape[3], size[1]))


def rescaled(maps, scale):
    return resize(maps, [max(1, math.floor(scale * side)) for side in maps.shape[2:]])


def pcm_seed(maps):
    num_images, num_classes, *size = maps.shape
    maps = maps.detach()
    seed = torch.zeros(num_images, num_classes + 1, *size, dtype=torch.float64)
    for n in range(num_images):
        peaks = [max(0.0, float(maps[n, c].max())) for c in range(num_classes)]
        for y, x in positions(size):
            scores = [max(0.0, max(0.0, float(maps[n, c, y, x])) - EPS) / (peaks[c] + EPS) for c in range(num_classes)]
            seed[n, 0, y, x] = 1 - max(scores)
            for c, score in enumerate(scores):
                seed[n, c + 1, y, x] = score if score == max(scores) else 0.0
    return seed


def affinity(features):
    """D x h x w -> hw x hw, one pair of positions after the other."""
    vectors = [features[:, y, x] for y, x in positions(features.shape[1:])]
    units = [vector / (vector.pow(2).sum().sqrt() + EPS) for vector in vectors]
    columns = []
    for j in range(len(units)):
        column = torch.stack([torch.relu((unit * units[j]).sum()) for unit in units])
        columns.append(column / (sum(column) + EPS))
    return torch.stack(columns, dim=1)


def spread(maps, features):
    """sum_i maps_i A_ij, for every image and class."""
    spreads = []
    for image, feature in zip(maps, features):
        weights = affinity(feature)
        spreads.append(torch.stack([sum(value * row for value, row in zip(plane.flatten(), weights)).view(plane.shape)
                                    for plane in image]))
    return torch.stack(spreads)


def theta(pcm, feats, images, size):
    """[image; relu(conv(f)) ...] at the size of the maps, then a convolution; ``pcm`` gives the weights."""
    parts = [resize(images * pcm.image_scale, size)]
    for index, conv in zip(pcm.in_indices, pcm.reduce):
        weight = conv.weight.double()[:, :, 0, 0]
        parts.append(resize(torch.relu(torch.einsum('oi,nihw->nohw', weight, feats[index].detach().double())), size))
    return torch.einsum('oi,nihw->nohw', pcm.theta.weight.double()[:, :, 0, 0], torch.cat(parts, dim=1))


def max_norm(maps, inside=None):
    """``inside``: N x 1 x h x w bools, the positions that have a value; the others stay zero."""
    result = torch.zeros_like(maps)
    for n in range(maps.shape[0]):
        where = [(y, x) for y, x in positions(maps.shape[2:]) if inside is None or inside[n, 0, y, x]]
        for c in range(maps.shape[1]):
            values = [torch.relu(maps[n, c, y, x]) for y, x in where]
            low, high = (limit(values, key=Tensor.item) if values else 0.0 for limit in (min, max))
            for (y, x), p in zip(where, values):
                result[n, c, y, x] = torch.relu(p - low - EPS) / (high - low + EPS)
    return result


def compared(maps1, maps2, transform, inside=None):
    """Maps of both views as ER and ECR compare them; an image that is moved partly out is normalised afterwards."""
    first, second, moved = transform(max_norm(maps1)), max_norm(maps2, inside), transform(maps1)
    if inside is not None:
        first = torch.stack([first[n] if inside[n].all() else max_norm(moved[n:n + 1], inside[n:n + 1])[0]
                             for n in range(len(maps1))])
    return first, second


def gate(maps, labels):
    """``labels`` has as many columns as ``maps`` has channels."""
    return torch.stack([torch.stack([plane * float(y) for plane, y in zip(image, label)])
                        for image, label in zip(maps, labels)])


def classification(scores, labels):
    terms = [torch.nn.functional.softplus(-score if y else score)
             for row, label in zip(scores, labels) for score, y in zip(row, label)]
    return sum(terms) / len(terms)


def er(cam1, cam2):
    return sum((a - b).abs().sum() for a, b in zip(cam1, cam2)) / cam1.numel()


def onehot_max(maps, detach=True):
    """Of the foreground of each position only the largest stays."""
    maps = maps.detach() if detach else maps
    result = maps.clone()
    for n in range(maps.shape[0]):
        for y, x in positions(maps.shape[2:]):
            best = max(value.item() for value in maps[n, 1:, y, x])
            for c in range(1, maps.shape[1]):
                if maps[n, c, y, x].item() < best:
                    result[n, c, y, x] = 0.0
    return result


def ecr(cam, revised, hard_ratio, over_pixels=False, detach=True):
    target, means = onehot_max(cam, detach), []
    for n in range(len(cam)):
        entries = (target[n] - revised[n]).abs().flatten()
        if over_pixels:
            entries = torch.stack([sum(abs(target[n, c, y, x] - revised[n, c, y, x]) for c in range(cam.shape[1]))
                                   / cam.shape[1] for y, x in positions(cam.shape[2:])])
        hardest = sorted(entries, key=Tensor.item, reverse=True)[:math.floor(hard_ratio * len(entries))]
        means.append(sum(hardest) / len(hardest))
    return sum(means) / len(means)


def min_pool(maps):
    means = []
    for image in maps:
        highest = sorted((image[:, y, x].max() for y, x in positions(image.shape[1:])), key=Tensor.item)
        lowest = [torch.relu(value) for value in highest[:len(highest) // 4]]
        means.append(sum(lowest) / len(lowest))
    return sum(means) / len(means)


def background_first(cam):
    """The background is 1 - the largest foreground."""
    return torch.cat([1 - cam.max(dim=1, keepdim=True).values, cam], dim=1)


def step(cam1, revised1, cam2, revised2, labels, transform, hard_ratio=0.2, inside=None):
    """The losses of a training step from the outputs of both views; C and C + 1 channels."""
    with_bg = [[1, *label] for label in labels.tolist()]
    losses = dict(loss_cls=(classification(cam1.mean(dim=(2, 3)), labels)
                            + classification(cam2.mean(dim=(2, 3)), labels)) / 2)
    losses['loss_min_pool'] = (min_pool(gate(revised1, with_bg)[:, 1:]) + min_pool(gate(revised2, with_bg)[:, 1:])) / 2
    cam1, cam2 = (gate(maps, labels) for maps in compared(cam1, cam2, transform, inside))
    revised1, revised2 = (gate(maps, with_bg) for maps in compared(revised1, revised2, transform, inside))
    if inside is not None:
        for maps in (revised1, revised2):
            maps[:, 0][~inside[:, 0]] = 1.0
    losses['loss_er'] = er(cam1, cam2)
    losses['loss_ecr'] = (ecr(background_first(cam2), revised1, hard_ratio)
                          + ecr(background_first(cam1), revised2, hard_ratio))
    return losses
