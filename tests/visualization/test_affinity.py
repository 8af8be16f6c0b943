import math

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule

from mmwsss.registry import MODELS
from mmwsss.structures.maps import rescale_images
from mmwsss.utils.errors import UserError
from mmwsss.visualization import draw_cam, fit_image
from mmwsss.visualization.affinity import (
    COLOURS,
    affinity_maps,
    draw_affinity,
    draw_cross,
    draw_stages,
    point_similarity,
    stage_maps,
)

RNG = np.random.default_rng(0)


@MODELS.register_module(force=True)
class AffinityToyBackbone(BaseModule):
    """Two convolutions; its features have strides 2 and 4."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1)

    def forward(self, inputs):
        first = self.first(inputs).relu()
        return first, self.second(first).relu()


CLASSIFIER = dict(type='CAMClassifier', backbone=dict(type='AffinityToyBackbone'),
                  cam_head=dict(type='CAMHead', in_channels=8, num_classes=3))


@pytest.fixture
def seam():
    torch.manual_seed(0)
    pcm = dict(type='PCM', in_channels=(4, 8), in_indices=(0, 1), reduced_channels=(3, 5), channels=6)
    model = MODELS.build(dict(type='SEAM', classifier=CLASSIFIER, pcm=pcm, loss_ecr=dict(type='ECRLoss')))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.mark.parametrize('size, scale', [((20, 28), 1), ((20, 28), 2), ((9, 33), 1), ((1, 1), 1)])
def test_maps_are_the_rectified_cosines_with_the_point(seam, size, scale):
    torch.manual_seed(1)
    inputs = rescale_images(torch.randn(1, 3, *size), scale)
    points = [(0.0, 0.0), (0.31, 0.77), (0.999, 0.5)]
    result = affinity_maps(seam, inputs, points)
    with torch.no_grad():
        maps, feats = seam.forward_maps(inputs)
        theta = seam.pcm.embed(feats, inputs, maps.shape[-2:])[0].double()
        expected = seam.compute_cam(inputs)
    height, width = theta.shape[1:]
    assert result.affinity.shape == (3, height, width) and result.cam.shape == (3, height, width)
    for (x, y), affinity in zip(points, result.affinity):
        own = theta[:, math.floor(y * height), math.floor(x * width)]
        for i in range(height):
            for j in range(width):
                other = theta[:, i, j]
                cosine = torch.dot(own, other) / (own.norm() * other.norm())
                assert affinity[i, j].item() == pytest.approx(max(cosine.item(), 0), abs=1e-4)
    for shown, own in ((result.cam, maps[0].relu()), (result.revised, expected.cam[0])):
        for k in range(3):
            torch.testing.assert_close(shown[k], own[k] / max(own[k].max().item(), 1e-5))
    torch.testing.assert_close(result.scores, expected.logits[0].sigmoid())
    assert not result.affinity.requires_grad


def test_points_without_features_have_no_affinity(seam):
    torch.nn.init.zeros_(seam.pcm.theta.weight)
    result = affinity_maps(seam, torch.randn(1, 3, 12, 12), [(0.5, 0.5)])
    assert (result.affinity == 0).all() and torch.isfinite(result.revised).all()


def test_maps_of_many_positions_reach_one(seam, monkeypatch):
    # Normalised by its sum, the affinity to one of a million like positions is a millionth.
    monkeypatch.setattr(seam.pcm, 'affinity', lambda *args: torch.tensor([[[1e-6, 5e-7]]]))
    result = affinity_maps(seam, torch.randn(1, 3, 4, 4), [(0.5, 0.5)])
    torch.testing.assert_close(result.affinity, torch.tensor([[[1, 0.5]]]))


@pytest.mark.parametrize('cfg', [CLASSIFIER, dict(type='SEAM', classifier=CLASSIFIER)])
def test_models_without_pcm_are_refused(cfg):
    with pytest.raises(UserError, match=f'^{cfg["type"]}: has no pixel correlation module.*model.pcm'):
        affinity_maps(MODELS.build(cfg), torch.zeros(1, 3, 8, 8), [(0, 0)])


def test_wrong_arguments(seam):
    for inputs, points in ((torch.zeros(2, 3, 8, 8), [(0, 0)]), (torch.zeros(1, 3, 8, 8), []),
                           (torch.zeros(1, 3, 8, 8), [(1.0, 0)]), (torch.zeros(1, 3, 8, 8), [(0, 0), (0.5, -0.1)])):
        with pytest.raises(ValueError, match='affinity_maps'):
            affinity_maps(seam, inputs, points)
        with pytest.raises(ValueError, match='stage_maps'):
            stage_maps(seam, inputs, points, ['0'])
    with pytest.raises(ValueError, match='1 affinity maps for 2 points'):
        draw_affinity(np.zeros((4, 4, 3), np.uint8), [(0, 0), (0, 0)], np.zeros((1, 2, 2)))


@pytest.mark.parametrize('seed', range(12))
def test_similarity_is_the_cosine_with_the_features_at_the_point(seed):
    rng = np.random.default_rng(seed)
    channels, height, width = rng.integers(1, 9, 3)
    feats = rng.normal(0, 10.0 ** rng.integers(-6, 7), (channels, height, width)) * (rng.random((height, width)) < .8)
    if seed % 2:
        feats = feats.clip(0)
    points = [(float(x), float(y)) for x, y in rng.random((3, 2))]
    result = point_similarity(torch.from_numpy(feats[None]).float(), points)
    assert result.shape == (3, height, width)
    for (x, y), similarity in zip(points, result):
        own = feats[:, math.floor(y * height), math.floor(x * width)]
        for i in range(height):
            for j in range(width):
                dot = sum(a * b for a, b in zip(own, feats[:, i, j]))
                norm = math.sqrt(sum(a * a for a in own)) * math.sqrt(sum(b * b for b in feats[:, i, j]))
                assert similarity[i, j].item() == pytest.approx(dot / norm if norm else 0, abs=1e-5)


def test_stages_of_any_cam_model():
    torch.manual_seed(2)
    model = MODELS.build(CLASSIFIER).eval()
    inputs, points = torch.randn(1, 3, 20, 28), [(0.1, 0.2), (0.9, 0.5)]
    result = stage_maps(model, inputs, points, ['1', '0'])
    maps, feats = model.forward_maps(inputs)
    assert list(result.similarity) == ['1', '0'] and not result.cam.requires_grad
    for name, feat in zip('01', feats):
        assert torch.equal(result.similarity[name], point_similarity(feat, points))
    assert result.similarity['0'].shape == (2, 10, 14) and result.similarity['1'].shape == (2, 5, 7)
    for k in range(3):
        torch.testing.assert_close(result.cam[k], maps[0, k].relu() / max(maps[0, k].max().item(), 1e-5))
    torch.testing.assert_close(result.scores, model.pool(maps)[0].sigmoid())
    with pytest.raises(UserError, match=r'^5: is no stage of the model, which has 0, 1 '):
        stage_maps(model, inputs, points, ['0', '5'])


def test_picture_has_a_row_for_each_point_and_a_column_for_each_stage():
    image = RNG.integers(60, 200, (50, 70, 3), dtype=np.uint8)
    points, pixels = [(0.2, 0.3), (0.8, 0.6)], [(28, 30), (112, 60)]
    similarity = {'stage 0': RNG.uniform(-1, 1, (2, 10, 14)), 'stage 1': RNG.uniform(-1, 1, (2, 5, 7))}
    cam = RNG.random((10, 14))
    sheet = draw_stages(image, points, similarity, {'CAM': cam}, 'caption', height=100)
    assert sheet.shape == (6 + 18 + 2 * (18 + 100 + 6), 4 * 140 + 5 * 6, 3)
    fitted = fit_image(image, 100)
    for i, (x, y) in enumerate(pixels):
        row = sheet[42 + 124 * i:142 + 124 * i]
        cells = [row[:, 6 + 146 * j:146 + 146 * j] for j in range(4)]
        for j, cell in enumerate(cells):
            near, count = has_colour(cell, COLOURS[i], x, y)
            assert near == (j < 3) and (count > 10) == (j < 3)
            assert not has_colour(cell, COLOURS[1 - i], x, y)[0]
        away = np.ones((100, 140), bool)
        away[y - 14:y + 15, x - 14:x + 15] = False
        assert np.array_equal(cells[0][away], fitted[away])
        for cell, values in zip(cells[1:], (*(maps[i] for maps in similarity.values()), cam)):
            tensor = torch.from_numpy(values[None, None])
            large = torch.nn.functional.interpolate(tensor, (100, 140), mode='bilinear', align_corners=False)[0, 0]
            assert np.abs(cell[away].astype(int) - draw_cam(fitted, large.numpy())[away]).max() <= 3
    with pytest.raises(ValueError, match='stage 1: 1 maps for 2 points'):
        draw_stages(image, points, dict(similarity, **{'stage 1': np.zeros((1, 2, 2))}))


def has_colour(cell, colour, x, y, radius=4):
    """Whether a colour is seen near (x, y), and how many pixels have it."""
    found = (cell == np.array(colour)).all(axis=2)
    return found[max(0, y - radius):y + radius + 1, max(0, x - radius):x + radius + 1].any(), found.sum()


def test_picture_holds_the_crosses_the_maps_and_the_cams():
    image = RNG.integers(60, 200, (50, 70, 3), dtype=np.uint8)
    points = [(0.2, 0.3), (0.8, 0.6)]
    affinity, cam = RNG.random((2, 5, 7)), RNG.random((10, 14))
    sheet = draw_affinity(image, points, affinity, {'CAM: dog': cam}, 'caption', height=100)
    assert sheet.shape == (6 + 18 + 18 + 100 + 6, 4 * 140 + 5 * 6, 3)
    cells = [sheet[42:142, 6 + 146 * i:146 + 146 * i] for i in range(4)]
    fitted = fit_image(image, 100)
    pixels = [(28, 30), (112, 60)]
    # Which crosses each cell has.
    for cell, crosses in zip(cells, [(0, 1), (0,), (1,), ()]):
        for i, (x, y) in enumerate(pixels):
            near, count = has_colour(cell, COLOURS[i], x, y)
            assert near == (i in crosses) and (count > 10) == (i in crosses)
    # Away from the crosses: the image, and the maps over it.
    away = np.ones((100, 140), bool)
    for x, y in pixels:
        away[y - 14:y + 15, x - 14:x + 15] = False
    assert away.mean() > .8 and np.array_equal(cells[0][away], fitted[away])
    for cell, values in zip(cells[1:], [*affinity, cam]):
        tensor = torch.from_numpy(values[None, None])
        large = torch.nn.functional.interpolate(tensor, (100, 140), mode='bilinear', align_corners=False)[0, 0].numpy()
        difference = np.abs(cell[away].astype(int) - draw_cam(fitted, large)[away])
        assert difference.max() <= 3  # a step of the colour map: the reference interpolates in float64
    without_points = draw_affinity(image, [], np.zeros((0, 1, 1)), {'': cam}, height=100)
    assert np.array_equal(cells[3], without_points[24:124, 152:292])


def test_picture_of_any_image():
    for shape in ((1, 1, 3), (3, 200, 3), (200, 3, 3)):
        image = RNG.integers(0, 256, shape, dtype=np.uint8)
        points = [(i / 9, i / 9) for i in range(8)]  # more than there are colours
        sheet = draw_affinity(image, points, RNG.random((8, 2, 2)), height=40)
        assert sheet.dtype == np.uint8 and sheet.shape[0] == 6 + 18 + 40 + 6


def test_cross_is_upright_and_outlined():
    image = np.full((60, 60, 3), 128, np.uint8)
    draw_cross(image, (0.5, 0.25), (255, 0, 0))
    red = (image == (255, 0, 0)).all(axis=2)
    rows, columns = red.nonzero()
    assert abs(rows.mean() - 15) <= 1 and abs(columns.mean() - 30) <= 1
    assert red[15].sum() >= 9 and red[:, 30].sum() >= 9 and not red[10, 25] and not red[20, 35]
    assert (image == 0).all(axis=2).sum() > red.sum() and (image[40:] == 128).all()
