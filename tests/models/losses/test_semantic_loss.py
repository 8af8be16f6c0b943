"""The losses of semantic learning against loops over images, categories and pixels in Python numbers."""
import math

import pytest
import torch

from mmwsss.models.losses import semantic_loss as module
from mmwsss.registry import MODELS

SHAPES = [(1, 1, 3), (2, 3, 4), (5, 7, 2)]


def random(*shape, seed=0, low=0.0):
    return low + (1 - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_present(num, categories, seed=3):
    """The background everywhere, other categories by chance."""
    present = (random(num, categories, seed=seed) > 0.5).double()
    present[:, 0] = 1
    return present


def pairs(present):
    image, category = present.nonzero(as_tuple=True)
    return category, present[image]


def close(found, expected):
    torch.testing.assert_close(torch.as_tensor(found).double(), torch.as_tensor(expected, dtype=torch.float64),
                               rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('num', 'categories', 'channels'), SHAPES)
def test_similarity_is_the_cosine(num, categories, channels):
    embeddings, semantics = random(num, categories, channels), random(categories, channels, seed=1)
    embeddings[0, 0] = 0
    expected = [[sum(a * b for a, b in zip(e.tolist(), s.tolist())) / (math.hypot(*e) * math.hypot(*s))
                 if e.any() else 0.0 for e, s in zip(image, semantics)] for image in embeddings]
    close(module.category_similarity(embeddings, semantics), expected)
    close(module.category_similarity(1000 * embeddings, semantics.expand(num, -1, -1)), expected)


def test_background_is_in_every_image():
    labels = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert module.present_categories(labels).tolist() == [[1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(('num', 'categories', 'channels'), SHAPES)
def test_semantic_cross_entropy(num, categories, channels):
    similarity, present = random(num, categories, low=0.05) * 0.9, random_present(num, categories)
    terms = [-math.log(s) if y else -math.log(1 - s)
             for s, y in zip(similarity.flatten().tolist(), present.flatten().tolist())]
    close(module.semantic_cross_entropy(similarity, present), sum(terms) / len(terms))


def test_semantic_cross_entropy_is_finite_at_the_ends():
    similarity = torch.tensor([[0.0, 1.0, 1.0 + 1e-6]], requires_grad=True)
    loss = module.semantic_cross_entropy(similarity, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert 5 < loss.item() < 10 and similarity.grad.isfinite().all()


@pytest.mark.parametrize(('num', 'categories', 'channels'), SHAPES)
def test_foreground_and_background(num, categories, channels):
    category, present = pairs(random_present(num, categories))
    similarity = random(len(category), categories, seed=7)
    foreground, background = [], []
    for k, s, here in zip(category.tolist(), similarity.tolist(), present.tolist()):
        others = [s[j] for j in range(categories) if j != k and here[j]]
        mean = sum(others) / len(others) if others else None
        foreground.append((1 - s[k]) / 2 + (0 if mean is None else (1 + mean) / 2))
        background.append((0 if mean is None else (1 - mean) / 2) + (1 + s[k]) / 2)
    close(module.category_foreground(similarity, category, present), foreground)
    close(module.category_background(similarity, category, present), background)
    for name, expected in (('CategoryForegroundLoss', foreground), ('CategoryBackgroundLoss', background)):
        loss = MODELS.build(dict(type=name, loss_weight=3.0))
        close(loss(similarity, category, present), 3 * sum(expected) / len(expected))


def test_what_the_right_masks_cost():
    """A mask that shows its category alone, and whose rest shows the others, is the cheapest."""
    present, category = torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([1])
    right, wrong = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert module.category_foreground(right, category, present) == 0.5 < 1.5
    assert module.category_foreground(wrong, category, present) == 1.5
    assert module.category_background(wrong, category, present) == 0.5
    assert module.category_background(right, category, present) == 1.5
    absent = torch.tensor([[0.0, 1.0, 1.0]])  # what the image does not have costs nothing
    assert module.category_foreground(absent, category, present) == 0.5


@pytest.mark.parametrize(('num', 'categories', 'side'), [(1, 1, 3), (2, 3, 4), (3, 5, 1)])
def test_regularization_and_consistency(num, categories, side):
    one, two = random(num, categories, side, side + 1), random(num, categories, side, side + 1, seed=1)
    present = random_present(num, categories)
    areas, areas_of_all, differences, gaps = [], [], [], []
    for i in range(num):
        def mean(values):
            return sum(values) / len(values) if values else 0.0

        area = [mean(one[i, k].flatten().tolist()) for k in range(categories)]
        areas.append(mean([area[k] for k in range(1, categories) if present[i, k]]) + 1 - area[0])
        areas_of_all.append(mean(area[1:]) + 1 - area[0])
        gaps.append(mean([(one[i, 0, y, x].item() + max([one[i, k, y, x].item() for k in range(1, categories)
                                                         if present[i, k]], default=0.0) - 1) ** 2
                          for y in range(side) for x in range(side + 1)]))
        differences.append(mean([mean([abs(a - b) for a, b in zip(one[i, k].flatten().tolist(),
                                                                  two[i, k].flatten().tolist())])
                                 for k in range(categories) if present[i, k]]))
    close(module.activation_regularization(one, present), areas)
    close(module.activation_regularization(one, present, 'all'), areas_of_all)
    if categories > 1:
        close(module.activation_complement(one, present), gaps)
        close(MODELS.build(dict(type='ActivationComplementLoss', loss_weight=3.0))(one, present), 3 * sum(gaps) / num)
    close(MODELS.build(dict(type='ActivationRegularizationLoss', loss_weight=2.0, average='all'))(one, present),
          2 * sum(areas_of_all) / num)
    close(module.activation_consistency(one, two, present), differences)
    close(MODELS.build(dict(type='ActivationRegularizationLoss'))(one, present), 0.075 * sum(areas) / num)
    close(MODELS.build(dict(type='ActivationConsistencyLoss', loss_weight=2.0))(one, two, present),
          2 * sum(differences) / num)


@pytest.mark.parametrize('average', ['All', 'image', ''])
def test_unknown_average_of_the_function(average):
    with pytest.raises(ValueError, match=f"average is one of .*, got '{average}'"):
        module.activation_regularization(torch.rand(1, 3, 2, 2), torch.ones(1, 3), average)


def test_regularization_of_something_else():
    with pytest.raises(ValueError, match='average'):
        MODELS.build(dict(type='ActivationRegularizationLoss', average='some'))


def test_consistency_counts_what_both_views_show():
    one, two, present = random(3, 2, 4, 5), random(3, 2, 4, 5, seed=1), torch.tensor([[1, 1], [1, 0], [0, 1]])
    inside = random(3, 1, 4, 5, seed=2) > 0.5
    inside[2] = False
    expected = [sum(sum(abs(one[i, k, y, x].item() - two[i, k, y, x].item()) for y, x in shown) / len(shown)
                    for k in range(2) if present[i, k]) / int(present[i].sum()) if shown else 0.0
                for i, shown in enumerate(inside[n, 0].nonzero().tolist() for n in range(3))]
    close(module.activation_consistency(one, two, present, inside), expected)
    close(module.activation_consistency(one, two, present, torch.ones(3, 1, 4, 5)),
          module.activation_consistency(one, two, present).tolist())


def test_gradients():
    """In float64 all the way, which the losses themselves are not."""
    category, present = pairs(random_present(3, 4))
    similarity = random(len(category), 4, seed=9).requires_grad_()
    maps = random(3, 4, 2, 3).requires_grad_()
    # The losses compute in float32: the finite differences are coarse, the gradients are not.
    coarse = dict(eps=1e-2, atol=2e-3, rtol=2e-3, nondet_tol=1e-6)
    for function in (module.category_foreground, module.category_background):
        assert torch.autograd.gradcheck(lambda s, f=function: f(s, category, present), similarity)
    assert torch.autograd.gradcheck(lambda m: module.activation_regularization(m, random_present(3, 4)), maps, **coarse)
    assert torch.autograd.gradcheck(lambda m: module.activation_complement(m, random_present(3, 4)), maps, **coarse)
    others = maps.detach() + 0.3
    assert torch.autograd.gradcheck(lambda m: module.activation_consistency(m, others, random_present(3, 4)), maps,
                                    **coarse)


def test_without_any_pair():
    loss = MODELS.build(dict(type='CategoryForegroundLoss'))
    assert loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)) == 0
