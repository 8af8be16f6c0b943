"""The saliency-conflict loss pixel by pixel, and batches to compute it on."""
import torch

SHAPES = [(1, 2, 1, 1), (2, 3, 4, 5), (3, 9, 7, 3), (4, 21, 5, 6)]
IGNORE = 255


def batch(shape, seed=0):
    """Logits, saliency and labels; one pixel in six is to be ignored, and every third image has no object.

    Saliency is 0.5, from where on a pixel is salient, in the first pixel of every image.
    """
    generator = torch.Generator().manual_seed(seed)
    n, c, *size = shape
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    saliency = torch.rand(n, *size, generator=generator, dtype=torch.float64)
    saliency[:, 0, 0] = 0.5
    labels = torch.randint(c, (n, *size), generator=generator)
    labels[::3] = 0
    labels[torch.rand(n, *size, generator=generator) < 1 / 6] = IGNORE
    return logits, saliency, labels


def slow_tau(labels, saliency, ignore=IGNORE):
    """Mean IoU over {background, not background}, pixel by pixel."""
    pairs = [(label == 0, value < 0.5) for label, value in zip(labels.flatten().tolist(), saliency.flatten().tolist())
             if label != ignore]
    ious = []
    for wanted in (True, False):
        either = [pair for pair in pairs if wanted in pair]
        if either:
            ious.append(sum(pair == (wanted, wanted) for pair in either) / len(either))
    return sum(ious) / len(ious) if ious else 0.0


def slow_class_tau(labels, saliency):
    """The temperature of every pixel of one image, pixel by pixel."""
    tau, pairs = slow_tau(labels, saliency), list(zip(labels.flatten().tolist(), saliency.flatten().tolist()))
    temperatures = []
    for label, _ in pairs:
        salient = [value >= 0.5 for other, value in pairs if other == label]
        temperatures.append(tau if label in (0, IGNORE) else min(tau, sum(salient) / len(salient)))
    return torch.tensor(temperatures).view(labels.shape)


def slow_saliency_loss(logits, saliency, labels, soft=True, ignore=IGNORE, on_ignored=False, objects=None):
    """Mean cross entropy of one image, C x H x W, pixel by pixel; differentiable. A salient pixel is of ``objects``."""
    objects = range(1, len(logits)) if objects is None else objects
    terms = []
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if saliency[y, x] < 0 if on_ignored else labels[y, x] == ignore:
                continue
            exponentials = [logits[c, y, x].exp() for c in range(len(logits))]
            background, other = (sum(exponentials[c] for c in some) / sum(exponentials) for some in ([0], objects))
            salient = saliency[y, x].item() if soft else float(saliency[y, x].item() >= 0.5)
            terms.append(-(1 - salient) * background.log() - salient * other.log())
    return sum(terms) / len(terms) if terms else 0 * logits.sum()
