import pytest
import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.inference import CAMProvider
from mmwsss.models import BaseCAMModel
from mmwsss.registry import CAM_PROVIDERS, INFERENCE_HOOKS
from mmwsss.structures import CAMOutput
from mmwsss.utils.errors import UserError


class ColourModel(BaseCAMModel):
    """The smallest CAM model: the class maps are the colours, two features go with them."""
    num_classes = 3

    def forward_maps(self, inputs):
        return inputs, (inputs[:, :1], inputs[:, 1:])

    def pool(self, maps):
        return maps.amax(dim=(2, 3))

    def loss(self, inputs, data_samples):
        raise AssertionError('not used')


@CAM_PROVIDERS.register_module(force=True)
class SquaredProvider(CAMProvider):
    """Squares of the class maps; remembers what it was called with."""

    def __init__(self, factor=1.0):
        self.factor = factor
        self.calls = []

    def __call__(self, model, inputs, labels):
        self.calls.append((model, tuple(inputs.shape), None if labels is None else labels.clone()))
        maps, _ = model.forward_maps(inputs)
        return CAMOutput(cam=self.factor * maps.relu().square(), logits=model.pool(maps) + 1)


@INFERENCE_HOOKS.register_module(force=True)
class NegateHook:
    """Shows the CAM function the negative."""

    def __init__(self):
        self.functions = []

    def __call__(self, cam_function, inputs, labels):
        self.functions.append(cam_function)
        return cam_function(-inputs, labels)


def images(num_images=2, size=(8, 4)):
    return torch.randn(num_images, 3, *size, generator=torch.Generator().manual_seed(0))


def labelled(*labels, size=(8, 4), **metainfo):
    result = []
    for label in labels:
        result.append(SegDataSample(metainfo=dict(ori_shape=size, img_path='photo.jpg', **metainfo)))
        result[-1].gt_img_label = LabelData(label=torch.tensor(label, dtype=torch.float32))
    return result


def model_of(test_cfg=None, **kwargs):
    return ColourModel(test_cfg=dict(stride=1, **(test_cfg or {})), **kwargs)


def normalised(maps):
    return (maps / maps.amax(dim=(-2, -1), keepdim=True)).half()


def test_two_methods_and_a_number_make_a_model():
    inputs = images()
    first, second = model_of().predict(inputs, labelled([1, 0, 1], [0, 1, 0]))
    torch.testing.assert_close(first.pred_cam.data, normalised(inputs[0, [0, 2]].relu()))
    torch.testing.assert_close(second.pred_cam.data, normalised(inputs[1, [1]].relu()))
    torch.testing.assert_close(first.pred_img_label.score, inputs[0].amax(dim=(1, 2)).sigmoid())
    output = model_of().compute_cam(inputs)
    assert torch.equal(output.cam, inputs.relu()) and list(output.feats) == ['0', '1']
    assert torch.equal(output.feats['1'], inputs[:, 1:])
    for incomplete in ('forward_maps', 'pool', 'num_classes'):
        methods = {name: value for name, value in vars(ColourModel).items() if name != incomplete}
        with pytest.raises(TypeError, match=incomplete):
            type('Incomplete', (BaseCAMModel,), methods)()


def test_provider_replaces_the_models_own_function():
    inputs, labels = images(), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    model = model_of(cam_provider=dict(type='SquaredProvider', factor=2.0))
    predictions = model.predict(inputs, labelled(*labels.tolist()))
    for n, prediction in enumerate(predictions):
        torch.testing.assert_close(prediction.pred_cam.data, normalised(inputs[n, labels[n].bool()].relu().square()))
        torch.testing.assert_close(prediction.pred_img_label.score, (inputs[n].amax(dim=(1, 2)) + 1).sigmoid())
    (called_with, shape, seen), = model.cam_provider.calls
    assert called_with is model and shape == (2, 3, 8, 4) and torch.equal(seen, labels)
    torch.testing.assert_close(model.cam_function(inputs, labels).cam, 2 * inputs.relu().square())
    assert model_of().cam_function(inputs, labels).cam.equal(inputs.relu())


def test_provider_is_inside_of_all_hooks():
    inputs = images()
    model = model_of(cam_provider=dict(type='SquaredProvider'),
                     inference_hooks=[dict(type='MultiScaleFlip', scales=(1.0,), stride=1), dict(type='NegateHook')])
    prediction, = model.predict(inputs[:1], labelled([1, 1, 1]))
    torch.testing.assert_close(prediction.pred_cam.data, normalised((-inputs[0]).relu().square()), rtol=0, atol=2e-3)
    (_, shape, seen), = model.cam_provider.calls
    assert shape == (2, 3, 8, 4) and seen.shape == (2, 3)  # the image and its mirror image


@pytest.mark.parametrize('hooks', [[], [dict(type='MultiScaleFlip', scales=(1.0,), flip=False, stride=1)]])
def test_class_filter_by_score_asks_the_plain_model_and_tells_the_provider(hooks):
    """The provider's scores are one higher than the model's; those of the plain forward decide."""
    inputs = images() / 2
    model = model_of(dict(class_filter='score', score_thr=0.7), inference_hooks=hooks,
                     cam_provider=dict(type='SquaredProvider'))
    expected = inputs.amax(dim=(2, 3)).sigmoid() > 0.7
    assert 0 < expected.sum() < expected.numel()
    for n, prediction in enumerate(model.predict(inputs)):
        assert prediction.pred_img_label.label.tolist() == expected[n].nonzero().flatten().tolist()
        torch.testing.assert_close(prediction.pred_cam.data, normalised(inputs[n, expected[n]].relu().square()))
        # The scores that are told are those that chose.
        torch.testing.assert_close(prediction.pred_img_label.score, inputs[n].amax(dim=(1, 2)).sigmoid())
    (_, _, seen), = model.cam_provider.calls
    assert torch.equal(seen, expected.float())


@pytest.mark.parametrize('hooks', [[], [dict(type='NegateHook')]])
def test_model_runs_once_where_the_class_filter_needs_no_more(hooks):
    model = model_of(dict(class_filter='score'), inference_hooks=hooks)
    calls, forward_maps = [], model.forward_maps
    model.forward_maps = lambda inputs: calls.append(1) or forward_maps(inputs)
    model.predict(images())
    assert len(calls) == 1 + len(hooks)


def test_normalisation_by_minimum_and_maximum():
    inputs = images().abs() + 1
    maximum, = model_of().predict(inputs[:1], labelled([0, 1, 1]))
    both, = model_of(dict(normalize='min_max')).predict(inputs[:1], labelled([0, 1, 1]))
    assert (maximum.pred_cam.data.amin(dim=(1, 2)) > 0).all() and (both.pred_cam.data.amin(dim=(1, 2)) == 0).all()
    for k, c in enumerate((1, 2)):
        plane = inputs[0, c]
        expected = (plane - plane.min()) / (plane.max() - plane.min())
        torch.testing.assert_close(both.pred_cam.data[k].float(), expected, rtol=0, atol=1e-3)
    nothing, = model_of(dict(normalize='min_max')).predict(torch.ones(1, 3, 8, 4), labelled([1, 0, 0]))
    assert (nothing.pred_cam.data == 0).all()
    none, = model_of(dict(normalize='min_max', class_filter='score', score_thr=1.0)).predict(inputs[:1])
    assert none.pred_cam.data.shape == (0, 8, 4)


@pytest.mark.parametrize('kwargs', [dict(test_cfg=dict(normalize='mean')), dict(test_cfg=dict(class_filter='guess')),
                                    dict(test_cfg=dict(stride=2.5)), dict(test_cfg=dict(scale=1)),
                                    dict(train_cfg=dict(weight=1))])
def test_unknown_options_are_refused(kwargs):
    with pytest.raises(ValueError, match='ColourModel'):
        ColourModel(**kwargs)


@pytest.mark.parametrize('options', [dict(class_filter='lable'), dict(strid=1), dict(stride=0), dict(normalize='mean')])
def test_unknown_options_of_a_call_are_refused(options):
    model = model_of()
    with pytest.raises(ValueError, match='ColourModel'):
        model.predict(images(1), labelled([1, 0, 0]), **options)
    assert model.predict(images(1), labelled([1, 0, 0]), stride=4)[0].pred_cam.data.shape == (1, 2, 1)
    assert model.test_cfg['stride'] == 1


def test_padded_images_and_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r'ColourModel.*padding'):
        model_of().predict(images(1), labelled([1, 0, 0], img_padding_size=(0, 2, 0, 0)))
    model_of().predict(images(1), labelled([1, 0, 0], img_padding_size=(0, 0, 0, 0)))
    with pytest.raises(UserError, match=r'photo\.jpg'):
        model_of().predict(images(1), [SegDataSample(metainfo=dict(ori_shape=(8, 4), img_path='photo.jpg'))])


def test_other_modes():
    inputs = images()
    model = model_of()
    assert torch.equal(model(inputs), inputs)
    assert model.encode_decode(inputs).shape == inputs.shape
    assert [feat.shape[1] for feat in model.extract_feat(inputs)] == [1, 2]
