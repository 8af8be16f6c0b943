"""RCM and MAM from their method page by loops over images, classes, scales and pixels, in float64: slow and obvious."""
import itertools

import torch


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_cam(*shape, seed=0):
    """Uniform in [0, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_labels(num_images, num_classes, seed=0):
    """Each class is in an image with probability 1/2; the first image has all, the last of three or more none."""
    labels = (random_cam(num_images, num_classes, seed=seed) > 0.5).double()
    labels[0] = 1
    labels[2:][-1:] = 0
    return labels


def pixels(maps):
    return itertools.product(range(maps.shape[0]), range(maps.shape[-2]), range(maps.shape[-1]))


def length(vector):
    return (vector * vector).sum().sqrt()


def regions(cam, labels, threshold):
    """{(n, y, x): 0 for the background, k + 1 for class k}."""
    found = {}
    for n, y, x in pixels(cam):
        best = None
        for k in range(cam.shape[1]):
            if labels[n, k] and (best is None or cam[n, k, y, x] > cam[n, best, y, x]):
                best = k
        found[n, y, x] = best + 1 if best is not None and cam[n, best, y, x] > threshold else 0
    return found


def prototypes(features, region, pixel_weighted=False):
    """{class: vector} of the classes that have a pixel."""
    found = {}
    for k in sorted(set(region.values())):
        images = []
        for n in range(len(features)):
            vectors = [features[n, :, y, x] for (image, y, x), of in region.items() if image == n and of == k]
            if vectors:
                images.append(vectors)
        if pixel_weighted:
            images = [[vector for vectors in images for vector in vectors]]
        found[k] = sum(sum(vectors) / len(vectors) for vectors in images) / len(images)
    return found


def total(terms, num_images, normalize):
    """``terms``: one (class, loss) for each pixel."""
    losses = [loss for _, loss in terms]
    if not losses:
        return torch.zeros((), dtype=torch.float64)
    if normalize == 'balanced':
        of_class = {k: [loss for other, loss in terms if other == k] for k, _ in terms}
        means = {k: sum(mine) / len(mine) for k, mine in of_class.items()}
        foreground = [mean for k, mean in means.items() if k > 0]
        return (means.get(0, 0) + (sum(foreground) / len(foreground) if foreground else 0)) / 2
    if normalize == 'class_sum':
        of_class = {k: [loss for other, loss in terms if other == k] for k, _ in terms}
        return sum(sum(mine) / len(mine) for mine in of_class.values())
    return sum(losses) / (len(losses) if normalize == 'count' else num_images)


def contrast(features, protos, region, temperature=0.5, log=True, normalize='count'):
    terms = []
    for n, y, x in pixels(features):
        if region[n, y, x] not in protos:
            continue
        vector = features[n, :, y, x] / length(features[n, :, y, x])
        sims = {k: torch.exp((vector * proto / length(proto)).sum() / temperature) for k, proto in protos.items()}
        ratio = sims[region[n, y, x]] / sum(sims.values())
        terms.append((int(region[n, y, x]), -(torch.log(ratio) if log else ratio)))
    return total(terms, len(features), normalize)


def direct(cam, region, labels, temperature=0.5, normalize='count'):
    terms = []
    for n, y, x in pixels(cam):
        values = {k + 1: cam[n, k, y, x] for k in range(cam.shape[1]) if labels[n, k]}
        values[0] = 1 - max(values.values()) if values else torch.ones((), dtype=torch.float64)
        chances = {k: torch.exp(value / temperature) for k, value in values.items()}
        terms.append((int(region[n, y, x]), -torch.log(chances[region[n, y, x]] / sum(chances.values()))))
    return total(terms, len(cam), normalize)


def attention(main, support):
    """2 - cosine of two maps h x w."""
    return 2 - (main * support).sum() / (length(main) * length(support))


def msinf(maps):
    """Mean of the maps h x w of all scales, divided by its maximum."""
    mean = sum(maps) / len(maps)
    return mean / mean.max()


def mam(main, support, labels, mode='mam', reduction='mean', reference_index=1, renormalize=False, detach=True):
    """``main`` and ``support``: a list of N x C x h x w over the scales."""
    loss = torch.zeros((), dtype=torch.float64)
    for n, k in itertools.product(range(len(labels)), range(labels.shape[1])):
        if not labels[n, k]:
            continue
        own, theirs = [maps[n, k] for maps in main], [maps[n, k].detach() for maps in support]
        for i in range(len(own)):
            if mode == 'mam':
                mine = own[i].detach() if detach else own[i]
                target = sum(attention(mine, maps) * maps for maps in theirs) / len(theirs)
            elif mode == 'mmm' or i == reference_index:
                target = sum(theirs) / len(theirs)
            else:
                continue
            if renormalize:
                target = target / target.max()
            distance = (target - own[i]).abs()
            loss = loss + (distance.mean() if reduction == 'mean' else distance.sum())
    return loss / len(labels)
