import itertools

import pytest
import rcm_mam_reference as slow
import torch

from mmwsss.models.losses import (
    class_prototypes,
    class_region_masks,
    region_cross_entropy,
    regional_contrast,
    without_incomplete,
)

# Images, classes, feature channels, height, width.
SHAPES = [(1, 1, 2, 1, 1), (2, 3, 4, 3, 5), (3, 5, 2, 4, 3), (4, 2, 7, 2, 2)]


def case(shape, threshold=0.6):
    """Features of both nets, CAM, labels, and the regions twice: masks and the reference's."""
    num_images, num_classes, channels, *size = shape
    main, support = (slow.random(num_images, channels, *size, seed=seed) for seed in (1, 2))
    cam, labels = slow.random_cam(num_images, num_classes, *size, seed=3), slow.random_labels(num_images, num_classes)
    return (main.requires_grad_(), support, cam, labels, class_region_masks(cam, labels, threshold),
            slow.regions(cam, labels, threshold))


def rows(protos, num_classes, channels):
    """The reference's prototypes as a matrix and which of its rows exist."""
    matrix, valid = torch.zeros(num_classes + 1, channels, dtype=torch.float64), torch.zeros(num_classes + 1).bool()
    for k, vector in protos.items():
        matrix[k], valid[k] = vector, True
    return matrix, valid


def assert_same(found, expected, *inputs):
    """Values and gradients."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs)):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('threshold', [0.0, 0.2, 0.9])
def test_regions_equal_loops(shape, threshold):
    _, _, cam, labels, masks, region = case(shape, threshold)
    assert masks.dtype == torch.bool and masks.shape == (shape[0], shape[1] + 1, *shape[3:])
    for n, y, x in slow.pixels(cam):
        assert masks[n, :, y, x].nonzero().flatten().tolist() == [region[n, y, x]]
    for kind in (labels.bool(), labels.long()):
        assert torch.equal(class_region_masks(cam, kind, threshold), masks)


def test_regions_of_known_pixels():
    cam = torch.tensor([[0.2, 0.21, 0.9, 0.5, 0.0], [0.9, 0.9, 0.9, 0.5, 0.9], [0.1, 0.1, 0.3, 0.5, 0.0]])
    cam = cam[None, :, None]
    # Exactly the threshold is background; an absent class has no pixel, however high; of equal classes the first.
    masks = class_region_masks(cam, torch.tensor([[1, 0, 1]]), 0.2)
    assert masks[0, :, 0].int().argmax(dim=0).tolist() == [0, 1, 1, 1, 0]
    masks = class_region_masks(cam, torch.zeros(1, 3), 0.2)
    assert masks[:, 0].all() and not masks[:, 1:].any()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('pixel_weighted', [False, True])
def test_prototypes_equal_loops(shape, pixel_weighted):
    _, support, _, _, masks, region = case(shape)
    expected, valid = rows(slow.prototypes(support, region, pixel_weighted), shape[1], shape[2])
    found, present = class_prototypes(support.requires_grad_(), masks, pixel_weighted)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(present, valid) and not found.requires_grad


def test_images_or_pixels_have_equal_weight():
    """Class 1 has one pixel of value 0 in one image and three of value 1 in another; class 2 has none."""
    masks = torch.zeros(2, 3, 1, 4, dtype=torch.bool)
    masks[0, 1, 0, :1] = masks[1, 1, 0, :3] = True
    features = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 1, 4)
    for pixel_weighted, mean in ((False, 0.5), (True, 0.75)):
        found, present = class_prototypes(features, masks, pixel_weighted)
        assert found.flatten().tolist() == [0, mean, 0] and present.tolist() == [False, True, False]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('log, normalize', itertools.product([True, False], ['count', 'balanced', 'class_sum', 'none']))
def test_contrast_equals_loops(shape, log, normalize):
    main, support, _, _, masks, region = case(shape)
    protos = slow.prototypes(support, region)
    matrix, valid = rows(protos, *shape[1:3])
    for temperature in (0.5, 0.1):
        found = regional_contrast(main, matrix, masks, temperature, log, normalize, valid)
        assert_same(found, slow.contrast(main, protos, region, temperature, log, normalize), main)


def test_what_classes_weigh():
    """Eight pixels of the background and one of each of two classes; all features look like background."""
    masks = torch.zeros(1, 3, 1, 10, dtype=torch.bool)
    masks[0, 0, 0, :8] = masks[0, 1, 0, 8] = masks[0, 2, 0, 9] = True
    features = torch.eye(3)[:, :1].expand(3, 10).reshape(1, 3, 1, 10)
    right, wrong = (-torch.tensor([2.0, 0, 0]).log_softmax(0)[k] for k in (0, 1))
    for normalize, expected in (('count', 0.8 * right + 0.2 * wrong), ('balanced', (right + wrong) / 2),
                                ('class_sum', right + 2 * wrong), ('none', 8 * right + 2 * wrong)):
        torch.testing.assert_close(regional_contrast(features, torch.eye(3), masks, normalize=normalize), expected)


@pytest.mark.parametrize('normalize', ['count', 'balanced', 'class_sum', 'none'])
def test_classes_without_prototype_take_no_part(normalize):
    """Neither in the denominator, nor with their pixels, nor in the count."""
    main, support, _, _, masks, region = case((3, 5, 2, 4, 3))
    protos = slow.prototypes(support, region)
    assert len(protos) > 3
    for unseen in ({0}, {1}, {2, 3}):
        known = {k: proto for k, proto in protos.items() if k not in unseen}
        matrix, valid = rows(known, 5, 2)
        found = regional_contrast(main, matrix, masks, normalize=normalize, valid=valid)
        assert_same(found, slow.contrast(main, known, region, normalize=normalize), main)
        # The zeros of unknown prototypes would count.
        assert regional_contrast(main, matrix, masks, normalize=normalize) != found


def test_no_prototype_or_no_pixel_gives_zero_with_gradient():
    main, support, _, _, masks, _ = case((2, 3, 4, 3, 5))
    protos, _ = class_prototypes(support, masks)
    for mask, valid in ((masks, torch.zeros(4).bool()), (masks & False, torch.ones(4).bool())):
        loss = regional_contrast(main, protos, mask, valid=valid)
        assert loss == 0 and (torch.autograd.grad(loss, main)[0] == 0).all()


def test_background_alone():
    """No image has a class: one prototype, which every pixel is as near to as it can be compared."""
    main, support, cam, labels, _, _ = case((2, 3, 4, 3, 5))
    masks = class_region_masks(cam, labels * 0)
    protos, present = class_prototypes(support, masks)
    assert present.tolist() == [True, False, False, False]
    assert regional_contrast(main, protos, masks, valid=present) == 0
    assert regional_contrast(main, protos, masks, log=False, valid=present) == -1


def test_length_of_features_and_prototypes_does_not_matter():
    main, support, _, _, masks, _ = case((2, 3, 4, 3, 5))
    protos, valid = class_prototypes(support, masks)
    expected = regional_contrast(main, protos, masks, valid=valid)
    for factor in (1e-3, 1e3):
        torch.testing.assert_close(regional_contrast(factor * main, protos / factor, masks, valid=valid), expected)


def test_prototypes_get_no_gradient():
    main, support, _, _, masks, _ = case((2, 3, 4, 3, 5))
    protos, valid = class_prototypes(support, masks)
    regional_contrast(main, protos.requires_grad_(), masks, valid=valid).backward()
    assert protos.grad is None and main.grad.any()


def test_features_of_zero_length_stay_finite():
    main, support, _, _, masks, _ = case((2, 3, 4, 3, 5))
    protos, valid = class_prototypes(support, masks)
    zero = main.detach() * torch.tensor([0, 0, 0, 1, 1.0])
    zero.requires_grad_()
    loss = regional_contrast(zero, protos, masks, valid=valid)
    assert loss.isfinite() and torch.autograd.grad(loss, zero)[0].isfinite().all()
    assert regional_contrast(zero, protos * 0, masks).isfinite()


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('normalize', ['count', 'balanced', 'class_sum', 'none'])
def test_direct_equals_loops(shape, normalize):
    _, _, _, labels, masks, region = case(shape)
    cam = slow.random_cam(shape[0], shape[1], *shape[3:], seed=8).requires_grad_()
    for temperature in (0.5, 1.0):
        found = region_cross_entropy(cam, masks, labels, temperature, normalize)
        assert_same(found, slow.direct(cam, region, labels, temperature, normalize), cam)


def test_direct_moves_the_cam_to_the_regions():
    """And leaves the maps of absent classes alone; an image without any class has nothing to learn."""
    cam = torch.full((2, 3, 1, 2), 0.5, requires_grad=True)
    labels = torch.tensor([[1, 0, 1], [0, 0, 0]])
    support = torch.tensor([[[0.9, 0.1]], [[1.0, 1.0]], [[0.2, 0.05]]]).expand(2, 3, 1, 2)
    masks = class_region_masks(support, labels)
    gradient = torch.autograd.grad(region_cross_entropy(cam, masks, labels), cam)[0]
    assert gradient[0, 0, 0, 0] < 0 < gradient[0, 2, 0, 0] and (gradient[0, [0, 2], 0, 1] > 0).all()
    assert (gradient[0, 1] == 0).all() and (gradient[1] == 0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(dtype):
    main, support, cam, labels, masks, _ = case((2, 3, 64, 7, 5))
    main, support, cam = (x.detach().to(dtype) for x in (main, 1000 * support, cam))

    def everything(main, support, cam):
        protos, present = class_prototypes(support, masks)
        return protos, regional_contrast(main, protos, masks, valid=present), region_cross_entropy(
            cam, masks, labels)

    expected = everything(main.double(), support.double(), cam.double())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = everything(main, support, cam)
    for one, other in zip(found, expected):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-3 if one.dim() else 0)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('threshold', [0.2, 0.9])
def test_images_without_a_pixel_of_some_class_are_left_out(shape, threshold):
    _, _, _, labels, masks, region = case(shape, threshold)
    found = without_incomplete(masks, labels)
    for n in range(shape[0]):
        classes = {k + 1 for k in range(shape[1]) if labels[n, k]}
        seen = {int(region[n, y, x]) for y in range(shape[3]) for x in range(shape[4])}
        assert torch.equal(found[n], masks[n] if classes <= seen else masks[n] & False)


def test_complete_and_incomplete_images():
    cam = torch.tensor([[[0.9, 0.1], [0.1, 0.8]], [[0.9, 0.9], [0.1, 0.8]], [[0.0, 0.0], [0.0, 0.0]]])[:, :, None]
    labels = torch.tensor([[1, 1], [1, 1], [0, 0]])  # both have a pixel; the second has none; there is none to have one
    kept = without_incomplete(class_region_masks(cam, labels, 0.2), labels)
    assert kept.flatten(1).any(dim=1).tolist() == [True, False, True]


@pytest.mark.parametrize('normalize', ['mean', 'Count', ''])
def test_unknown_normalization_is_refused(normalize):
    masks = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    message = f"normalize is one of count, balanced, class_sum, none, got '{normalize}'"
    with pytest.raises(ValueError, match=message):
        regional_contrast(torch.rand(1, 3, 2, 2), torch.rand(2, 3), masks, normalize=normalize)
    with pytest.raises(ValueError, match=message):
        region_cross_entropy(torch.rand(1, 1, 2, 2), masks, torch.ones(1, 1), normalize=normalize)
