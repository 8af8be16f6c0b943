import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.postprocessing import CRF_PRESETS, DenseCRF, build_postprocessor, build_postprocessors, defaults, dense_crf
from mmwsss.postprocessing.background import check_background
from mmwsss.postprocessing.crf_backends import MODULES, build_kernels, choose_backend, import_error
from mmwsss.postprocessing.dense_crf import leading_labels, unary_from_hard_labels, unary_from_scores
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/postprocessing'
needs_pydensecrf = pytest.mark.skipif(import_error('pydensecrf') is not None, reason='pydensecrf is not installed')
BACKENDS = [pytest.param(name, marks=pytest.mark.skipif(import_error(name) is not None, reason=f'{name} is missing'))
            for name in MODULES]
every_backend = pytest.mark.parametrize('backend', BACKENDS)


def softmax(energy):
    exponential = np.exp(energy - energy.max(axis=0))
    return exponential / exponential.sum(axis=0)


def kernel(features):
    """Dense Gaussian kernel of all pairs, normalised symmetrically by its row sums."""
    values = np.exp(-np.sum((features[:, None] - features[None])**2, axis=-1) / 2)
    norm = 1 / np.sqrt(values.sum(axis=1))
    return norm[:, None] * values * norm[None]


def mean_field(image, scores, *, unary='softmax', gt_prob=0.7, iterations=10, gaussian_sxy=3, gaussian_compat=3,
               bilateral_sxy=80, bilateral_srgb=13, bilateral_compat=10, scale_factor=1):
    """The docstring's equations in float64, every pair of pixels, no lattice."""
    num_labels, height, width = scores.shape
    energy = np.zeros((num_labels, height * width))
    position, colour = [], []
    for y in range(height):
        for x in range(width):
            i = len(position)
            position.append((x, y))
            colour.append(image[y, x])
            for k in range(num_labels):
                if unary == 'softmax':
                    energy[k, i] = -np.log(max(float(scores[k, y, x]), 1e-5))
                elif scores[:, y, x].argmax() == k:
                    energy[k, i] = -np.log(gt_prob)
                else:
                    energy[k, i] = -np.log((1 - gt_prob) / (num_labels - 1))
    position, colour = np.array(position, float), np.array(colour, float)
    smooth = kernel(position / (gaussian_sxy / scale_factor))
    appearance = kernel(np.hstack([position / (bilateral_sxy / scale_factor), colour / bilateral_srgb]))
    pairwise = gaussian_compat * smooth + bilateral_compat * appearance
    q = softmax(-energy)
    for _ in range(iterations):
        q = softmax(-energy + q @ pairwise)
    return q.reshape(scores.shape)


def scene(seed, height=12, width=10, num_labels=3):
    """A picture of four flat regions with a little noise, and noisy scores that lean to their side."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (60, 90, 120))
    image[:, width // 2:] = (85, 80, 100)
    image[height // 2:] += 15
    scores = rng.random((num_labels, height, width)) * 0.6
    scores[0, :, :width // 2] += 0.2
    scores[-1, :, width // 2:] += 0.2
    return (image + rng.integers(0, 4, image.shape)).astype(np.uint8), scores.astype(np.float32)


# The lattice is an approximation; the bounds are about twice what was seen over these scenes.
@every_backend
@pytest.mark.parametrize('seed, size', [(0, (12, 10, 3)), (1, (9, 14, 2)), (2, (13, 8, 4))])
@pytest.mark.parametrize('parameters', [
    {}, {'unary': 'label'}, {'gaussian_compat': 0}, {'bilateral_compat': 0}, {'scale_factor': 2},
    {'unary': 'label', 'bilateral_sxy': 50, 'bilateral_srgb': 5},
])
def test_one_iteration_equals_dense_reference(seed, size, parameters, backend):
    image, scores = scene(seed, *size)
    expected = mean_field(image, scores, iterations=1, **parameters)
    error = np.abs(dense_crf(image, scores, iterations=1, **parameters, backend=backend) - expected)
    assert error.max() < 0.12
    assert error.mean() < 0.02


@every_backend
@pytest.mark.parametrize('seed, size', [(3, (12, 10, 3)), (4, (10, 12, 2))])
@pytest.mark.parametrize('unary', ['softmax', 'label'])
def test_ten_iterations_give_the_labels_of_the_dense_reference(seed, size, unary, backend):
    image, scores = scene(seed, *size)
    expected = mean_field(image, scores, unary=unary)
    margin = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0]
    clear = margin > 0.1
    assert clear.mean() > 0.9
    got = dense_crf(image, scores, unary=unary, backend=backend)
    np.testing.assert_array_equal(got.argmax(0)[clear], expected.argmax(0)[clear])
    assert (got.argmax(0) != scores.argmax(0)).any(), 'the CRF changed nothing: the test shows nothing'


@every_backend
@pytest.mark.parametrize('name, one, other', [
    ('gaussian_sxy', 0.5, 4), ('gaussian_compat', 0.5, 3), ('bilateral_sxy', 1, 40), ('bilateral_srgb', 4, 60),
    ('bilateral_compat', 0.5, 4), ('iterations', 1, 4), ('gt_prob', 0.5, 0.9), ('scale_factor', 1, 6),
])
def test_every_parameter_is_passed_on(name, one, other, backend):
    image, scores = scene(5)
    # Weak pairwise terms, so that the probabilities are not driven to 0 and 1.
    weak = {'iterations': 2, 'gaussian_compat': 1, 'bilateral_compat': 1.5, 'gaussian_sxy': 2, 'bilateral_sxy': 6}
    if name == 'gt_prob':
        weak['unary'] = 'label'
    expected = {value: mean_field(image, scores, **{**weak, name: value}) for value in (one, other)}
    for value, wrong in ((one, other), (other, one)):
        got = dense_crf(image, scores, **{**weak, name: value}, backend=backend)
        assert np.abs(got - expected[value]).mean() < np.abs(got - expected[wrong]).mean() / 3


@every_backend
def test_without_pairwise_terms_it_is_the_softmax_of_the_unaries(backend):
    image, scores = scene(6)
    for unary in ('softmax', 'label'):
        got = dense_crf(image, scores, unary=unary, gaussian_compat=0, bilateral_compat=0, backend=backend)
        np.testing.assert_allclose(got, mean_field(image, scores, unary=unary, iterations=0), atol=1e-6)
        np.testing.assert_allclose(got, dense_crf(image, scores, unary=unary, iterations=0, backend=backend), atol=1e-6)
    np.testing.assert_allclose(dense_crf(image, scores, iterations=0, backend=backend), scores / scores.sum(0),
                               atol=1e-5)


@needs_pydensecrf
def test_unaries_equal_pydensecrfs():
    utils = pytest.importorskip('pydensecrf.utils')
    rng = np.random.default_rng(9)
    scores = rng.random((4, 6, 7)).astype(np.float32)
    scores[:, 0] = 0
    for gt_prob in (0.3, 0.7, 0.95):
        np.testing.assert_allclose(
            unary_from_hard_labels(scores, gt_prob),
            utils.unary_from_labels(scores.argmax(0), 4, gt_prob, zero_unsure=False), rtol=1e-6)
    np.testing.assert_allclose(unary_from_scores(scores), utils.unary_from_softmax(scores), rtol=1e-6)


@every_backend
def test_a_factor_common_to_all_scores_changes_nothing(backend):
    image, scores = scene(7)
    scores += 0.01
    np.testing.assert_allclose(dense_crf(image, scores, iterations=3, backend=backend),
                               dense_crf(image, scores / 3, iterations=3, backend=backend), atol=1e-3)


@every_backend
@pytest.mark.parametrize('unary', ['softmax', 'label'])
@pytest.mark.parametrize('shape', [(2, 1, 1), (3, 1, 9), (2, 8, 1), (1, 1, 1)])
def test_tiny_images(shape, unary, backend):
    rng = np.random.default_rng(0)
    scores = rng.random(shape).astype(np.float32)
    got = dense_crf(rng.integers(0, 256, (*shape[1:], 3)).astype(np.uint8), scores, unary=unary)
    assert got.shape == shape and got.dtype == np.float32
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)
    if shape[1:] == (1, 1):
        assert got.argmax() == scores.argmax()


@every_backend
def test_memory_layout_does_not_matter(backend):
    image, scores = scene(8, 12, 11, 3)
    expected = dense_crf(image, scores, backend=backend)
    wide = np.zeros((24, 22, 3), np.uint8)
    wide[::2, ::2] = image
    for other_image in (wide[::2, ::2], np.asfortranarray(image), image[:, :, ::-1].copy()[:, :, ::-1]):
        np.testing.assert_array_equal(dense_crf(other_image, np.asfortranarray(scores), backend=backend), expected)
    image.flags.writeable = False
    np.testing.assert_array_equal(dense_crf(image, scores.astype(np.float64), backend=backend), expected)


@every_backend
def test_deterministic_and_arguments_stay(backend):
    image, scores = scene(9, 40, 50)
    copies = image.copy(), scores.copy()
    first = dense_crf(image, scores, backend=backend)
    np.testing.assert_array_equal(dense_crf(image, scores, backend=backend), first)
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(scores, copies[1])


def test_no_class_is_all_background():
    image, _ = scene(0)
    score_map = DenseCRF()(ScoreMap(np.full((1, 12, 10), 0.3, np.float32), np.zeros(0, np.int64)), image)
    assert not score_map.to_label().any()
    np.testing.assert_array_equal(score_map.scores, 1)


def test_postprocessor_keeps_classes_and_pickles():
    image, scores = scene(1)
    score_map = ScoreMap(scores, np.array([2, 7]))
    crf = pickle.loads(pickle.dumps(DenseCRF(**{**CRF_PRESETS['label'], 'iterations': 3})))
    got = crf(score_map, image)
    np.testing.assert_array_equal(got.classes, [2, 7])
    assert set(np.unique(got.to_label())) <= {0, 3, 8}
    np.testing.assert_array_equal(got.scores, dense_crf(image, scores, unary='label', gt_prob=0.7, bilateral_sxy=50,
                                                        bilateral_srgb=5, iterations=3))


def test_a_class_follows_the_edge_of_the_object():
    # A disc of another colour; the scores know only a blob in its middle that leaks to the left.
    y, x = np.mgrid[:48, :60]
    disc = (x - 30)**2 + (y - 24)**2 < 15**2
    image = np.where(disc[..., None], (190, 60, 40), (70, 120, 90)).astype(np.uint8)
    cam = np.exp(-((x - 24)**2 + (y - 24)**2) / (2 * 9**2))
    scores = np.stack([np.full_like(cam, 0.3), cam]).astype(np.float32)

    def iou(label):
        return (disc & label).sum() / (disc | label).sum()

    before = iou(scores.argmax(0) == 1)
    after = iou(dense_crf(image, scores).argmax(0) == 1)
    assert before < 0.8 < 0.95 < after


@pytest.mark.parametrize('parameters', [
    {'unary': 'soft'}, {'gt_prob': 0}, {'gt_prob': 1}, {'gt_prob': 'x'}, {'iterations': -1}, {'iterations': 2.5},
    {'gaussian_sxy': 0}, {'bilateral_sxy': -1}, {'bilateral_srgb': 0}, {'gaussian_compat': -1},
    {'bilateral_compat': float('nan')}, {'scale_factor': 0}, {'bilateral_sxy': '80'},
])
def test_wrong_parameters(parameters):
    name = next(iter(parameters))
    with pytest.raises(UserError, match=name):
        DenseCRF(**parameters)
    with pytest.raises(UserError, match=name):
        dense_crf(*scene(0), **parameters)


def test_wrong_inputs():
    image, scores = scene(0)
    with pytest.raises(UserError, match='size'):
        dense_crf(image[:-1], scores)
    with pytest.raises(UserError, match='uint8'):
        dense_crf(image.astype(np.float32), scores)
    for value in (-0.1, np.nan, np.inf):
        wrong = scores.copy()
        wrong[1, 2, 3] = value
        with pytest.raises(UserError, match='finite'):
            dense_crf(image, wrong)


def hide(monkeypatch, *backends):
    for backend in backends:
        monkeypatch.setitem(sys.modules, MODULES[backend], None)
        monkeypatch.setitem(sys.modules, backend, None)


def test_auto_takes_the_first_that_is_installed(monkeypatch):
    assert list(MODULES) == ['numba', 'pydensecrf', 'torch']
    for name in MODULES:
        monkeypatch.setitem(sys.modules, MODULES[name].split('.')[0], sys.modules[__name__])
        monkeypatch.setitem(sys.modules, MODULES[name], sys.modules[__name__])
    assert choose_backend() == 'numba'
    hide(monkeypatch, 'numba')
    assert choose_backend() == 'pydensecrf'
    hide(monkeypatch, 'pydensecrf')
    assert choose_backend() == DenseCRF().backend == build_postprocessor({'type': 'DenseCRF'}).backend == 'torch'


def test_with_torch_alone(monkeypatch):
    hide(monkeypatch, 'numba', 'pydensecrf')
    image, scores = scene(0)
    np.testing.assert_array_equal(dense_crf(image, scores), dense_crf(image, scores, backend='torch'))


@pytest.mark.parametrize('backend, install', [('numba', 'pip install numba'),
                                              ('pydensecrf', r'pip install pydensecrf2==1\.1')])
def test_a_backend_that_is_not_installed(backend, install, monkeypatch):
    hide(monkeypatch, backend)
    for call in (lambda: DenseCRF(backend=backend), lambda: dense_crf(*scene(0), backend=backend)):
        with pytest.raises(UserError, match=f"backend '{backend}' cannot be imported.*{install}"):
            call()


@pytest.mark.parametrize('options, message', [
    (dict(backend='cuda'), "backend must be one of 'auto', 'numba'"), (dict(device='tpu9'), 'device must be'),
    (dict(device=None), 'device must be'), (dict(device='meta', backend='numba'), 'works on the CPU alone')])
def test_wrong_backends_and_devices(options, message):
    with pytest.raises(UserError, match=message):
        DenseCRF(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_such_gpu():
    with pytest.raises(UserError, match="no device 'cuda' here"):
        DenseCRF(device='cuda')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
def test_on_a_gpu():
    image, scores = scene(0, 40, 30)
    crf = DenseCRF(device='cuda')
    assert crf.backend == 'torch'
    got = crf(ScoreMap(scores, np.arange(2)), image).scores
    np.testing.assert_allclose(got, dense_crf(image, scores, backend='torch'), atol=1e-4)


@needs_pydensecrf
@pytest.mark.parametrize('backend', [BACKENDS[0], BACKENDS[2]])
@pytest.mark.parametrize('num_labels', [2, 3, 4, 6, 8])
@pytest.mark.parametrize('parameters', [{}, CRF_PRESETS['label'], {'gaussian_sxy': 0.7, 'bilateral_sxy': 9},
                                        {'gaussian_compat': 0}, {'bilateral_compat': 0}])
def test_equals_pydensecrf(backend, num_labels, parameters):
    rng = np.random.default_rng(num_labels)
    height, width = 44, 37  # a multiple of 4: otherwise pydensecrf adds a point
    image = np.kron(rng.integers(0, 256, (11, 37, 3)), np.ones((4, 1, 1)))
    image = (0.9 * image + 20 * rng.random(image.shape)).astype(np.uint8)
    scores = rng.random((num_labels, height, width)).astype(np.float32)
    few, many = {**parameters, 'iterations': 2}, {**parameters, 'iterations': 10}
    np.testing.assert_allclose(dense_crf(image, scores, **few, backend=backend),
                               dense_crf(image, scores, **few, backend='pydensecrf'), atol=1e-4)
    # Iterations amplify the rounding where labels are in balance.
    expected = dense_crf(image, scores, **many, backend='pydensecrf')
    got = dense_crf(image, scores, **many, backend=backend)
    assert np.abs(got - expected).mean() < 2e-5
    assert (got.argmax(0) == expected.argmax(0)).mean() >= 0.999
    assert (expected.argmax(0) != scores.argmax(0)).any()


@every_backend
def test_crfs_on_one_image_share_what_depends_on_it(backend, monkeypatch):
    built = []
    # The package has the function dense_crf where this module would be.
    monkeypatch.setattr(sys.modules['mmwsss.postprocessing.dense_crf'], 'build_kernels',
                        lambda *args, **kwargs: built.append(args) or build_kernels(*args, **kwargs))
    image, scores = scene(2, num_labels=3)
    others = scores[[0, 2]][:, ::-1]
    crf = DenseCRF(backend=backend)
    run = crf.on_image(image)
    first, second, again = (run(ScoreMap(s, np.arange(len(s) - 1))).scores for s in (scores, others, scores))
    assert len(built) == 1
    np.testing.assert_array_equal(first, dense_crf(image, scores, backend=backend))
    np.testing.assert_array_equal(second, dense_crf(image, others, backend=backend))
    np.testing.assert_array_equal(again, first)


@every_backend
def test_many_labels_and_sure_scores(backend):
    image, _ = scene(4, 16, 15)
    scores = np.random.default_rng(0).random((23, 16, 15)).astype(np.float32) ** 30  # most are ruled out
    got = dense_crf(image, scores, backend=backend, gaussian_compat=300, bilateral_compat=1000)
    assert np.isfinite(got).all() and (got >= 0).all()
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize('backend', [BACKENDS[0], BACKENDS[2]])
def test_a_lattice_that_is_too_fine(backend):
    with pytest.raises(UserError, match='raise bilateral_srgb'):
        dense_crf(*scene(0), bilateral_srgb=1e-3, bilateral_sxy=1e-3, backend=backend)


def test_the_defaults_are_the_softmax_preset():
    assert DenseCRF().parameters == DenseCRF(**CRF_PRESETS['softmax']).parameters


@pytest.mark.parametrize('name', ['softmax', 'label'])
def test_configs_equal_presets_and_defaults(name):
    config = Config.fromfile(CONFIGS / f'crf_{name}.py')
    check_background(config.background)
    assert config.background == defaults.DEFAULT_CRF_BACKGROUND[name]
    crf, = build_postprocessors(config.postprocessors)
    assert crf.parameters == DenseCRF(**CRF_PRESETS[name]).parameters
    assert crf.parameters['unary'] == name


def test_leading_labels_alone_compete():
    image, scores = scene(3, num_labels=5)
    scores[1] *= 0.2  # nowhere the largest
    assert leading_labels(scores).tolist() == [0, 2, 3, 4]
    score_map = ScoreMap(scores, np.arange(4))
    before = scores.copy()
    refined = DenseCRF(iterations=3, labels='leading')(score_map, image)
    np.testing.assert_array_equal(refined.scores[[0, 2, 3, 4]], dense_crf(image, scores[[0, 2, 3, 4]], iterations=3))
    assert (refined.scores[1] == 0).all() and refined.classes is score_map.classes
    np.testing.assert_array_equal(scores, before)
    assert not np.allclose(refined.scores, DenseCRF(iterations=3)(score_map, image).scores)
    one = DenseCRF(labels='leading')(ScoreMap(np.stack([scores[0], scores[0] + 1]), np.arange(1)), image)
    assert (one.to_label() == 1).all()


def test_a_tie_leads_for_the_first_label():
    assert leading_labels(np.ones((3, 2, 2), np.float32)).tolist() == [0]


def test_which_labels_is_checked():
    with pytest.raises(UserError, match="labels must be 'all' or 'leading'"):
        DenseCRF(labels='some')
