import builtins
import sys
import types

import cv2
import numpy as np
import pytest
import torch

from mmwsss.apis import CAMInferencer, SegInferencer, export_onnx
from mmwsss.apis.model_folder import load_model
from mmwsss.utils.errors import UserError


def rgb(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def as_input(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def run_opencv(path, image):
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(as_input(image))
    names = net.getUnconnectedOutLayersNames()
    return dict(zip(names, net.forward(names)))


@torch.no_grad()
def run_torch(model, image):
    data = dict(inputs=[torch.from_numpy(image[..., ::-1].copy().transpose(2, 0, 1))])
    inputs = model.data_preprocessor(data, False)['inputs']
    output = model.compute_cam(inputs)
    return dict(cam=output.cam.numpy(), score=output.logits.sigmoid().numpy())


def test_classifier_in_opencv(classifier, tmp_path):
    pytest.importorskip('onnx', reason='pip install mmwsss[onnx]')
    path = export_onnx(*classifier, tmp_path / 'cam.onnx', size=(48, 64))
    assert (tmp_path / 'classes.txt').read_text().split() == ['cat', 'dog', 'owl']
    _, model, _ = load_model(*classifier)
    image = rgb((48, 64))
    found, expected = run_opencv(path, image), run_torch(model, image)
    assert found.keys() == expected.keys() and expected['cam'].max() > 0
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4 * max(1, values.max()), err_msg=name)


def test_any_size_in_onnxruntime(classifier, segmentor, tmp_path):
    pytest.importorskip('onnx', reason='pip install mmwsss[onnx]')
    runtime = pytest.importorskip('onnxruntime', reason='pip install onnxruntime')
    _, model, _ = load_model(*classifier)
    session = runtime.InferenceSession(export_onnx(*classifier, tmp_path / 'cam.onnx'))
    for size in ((48, 64), (33, 50)):
        for name, values in run_torch(model, rgb(size)).items():
            found, = session.run([name], dict(image=as_input(rgb(size))))
            np.testing.assert_allclose(found, values, atol=1e-4 * max(1, values.max()), err_msg=name)
    session = runtime.InferenceSession(export_onnx(*segmentor, tmp_path / 'seg.onnx'))
    inferencer = SegInferencer(*segmentor)
    for size in ((40, 56), (65, 47)):
        image = rgb(size)
        logits, = session.run(None, dict(image=np.repeat(as_input(image), 2, axis=0)))
        assert logits.shape == (2, 4, *size)
        data = dict(inputs=[torch.from_numpy(image[..., ::-1].copy().transpose(2, 0, 1))])
        expected = inferencer.model.test_step(data)[0].seg_logits.data.detach().numpy()
        np.testing.assert_allclose(logits[1], expected, atol=1e-4 * max(1, np.abs(expected).max()))
        assert (logits[1].argmax(0) == inferencer(rgb(size), channel_order='rgb')[0].label).mean() > .999


def test_mistakes(classifier, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_onnx(name, *args, **kwargs):
        if name == 'onnx':
            raise ImportError('No module named onnx')
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without_onnx)
    with pytest.raises(UserError, match=r'pip install "mmwsss\[onnx\]"'):
        export_onnx(*classifier, tmp_path / 'cam.onnx')
    monkeypatch.undo()
    pytest.importorskip('onnx', reason='pip install mmwsss[onnx]')
    with pytest.raises(UserError, match=r'must end in \.onnx'):
        export_onnx(*classifier, tmp_path / 'cam.pb')
    assert not list(tmp_path.iterdir())
    assert CAMInferencer(*classifier).classes == ('cat', 'dog', 'owl')


def test_the_class_list_of_a_data_set_is_not_replaced(classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', types.ModuleType('onnx'))  # it is not come to
    (tmp_path / 'classes.txt').write_text('cat\n')
    with pytest.raises(UserError, match=r'classes\.txt: is there and lists other classes'):
        export_onnx(*classifier, tmp_path / 'cam.onnx')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['cat\n']
