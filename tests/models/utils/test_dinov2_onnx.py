import pytest
import torch

from mmwsss.models.utils.dinov2_onnx import dinov2_config, read_dinov2_onnx
from mmwsss.utils.errors import UserError

onnx = pytest.importorskip('onnx', reason='the package onnx is not installed (pip install onnx)')
WIDTH, LAYERS, PATCH, GRID = 128, 2, 14, 4
LINEAR = {'attention.attention.query': (WIDTH, WIDTH), 'attention.attention.key': (WIDTH, WIDTH),
          'attention.attention.value': (WIDTH, WIDTH), 'attention.output.dense': (WIDTH, WIDTH),
          'mlp.fc1': (2 * WIDTH, WIDTH), 'mlp.fc2': (WIDTH, 2 * WIDTH)}


def hub_weights(seed=0):
    """Random weights by the names of the published checkpoints of DINOv2."""
    shapes = {'embeddings.cls_token': (1, 1, WIDTH), 'embeddings.position_embeddings': (1, 1 + GRID ** 2, WIDTH),
              'embeddings.patch_embeddings.projection.weight': (WIDTH, 3, PATCH, PATCH),
              'embeddings.patch_embeddings.projection.bias': (WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in LINEAR.items():
            shapes |= {f'encoder.layer.{layer}.{name}.weight': shape, f'encoder.layer.{layer}.{name}.bias': shape[:1]}
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'layer_scale1.lambda1',
                     'layer_scale2.lambda1'):
            shapes[f'encoder.layer.{layer}.{name}'] = (WIDTH,)
    shapes |= {'layernorm.weight': (WIDTH,), 'layernorm.bias': (WIDTH,)}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) / 8 for name, shape in shapes.items()}


def write_onnx(path, weights, left_out=()):
    """Writes the weights as PyTorch's exporter leaves them: anonymous and transposed where it computes with them."""
    tensors, nodes = {}, []
    for number, (name, value) in enumerate(weights.items()):
        key = f'backbone.{name}'
        if name == 'embeddings.position_embeddings':
            tensors |= {'onnx::Concat_7': value[:, :1], 'onnx::Reshape_8': value[:, 1:]}
            nodes += [onnx.helper.make_node('Reshape', ['onnx::Reshape_8', 'shape'], ['grid']),
                      onnx.helper.make_node('Concat', ['onnx::Concat_7', 'resized'], ['positions'], axis=1)]
        elif name.endswith('.weight') and name.split('.layer.')[-1][2:-7] in LINEAR:
            tensors[f'onnx::MatMul_{number}'] = value.t()
            inputs = [f'product_{number}', key.removesuffix('weight') + 'bias']
            nodes += [onnx.helper.make_node('MatMul', [f'x_{number}', f'onnx::MatMul_{number}'], inputs[:1]),
                      # the order of a sum is the exporter's choice
                      onnx.helper.make_node('Add', inputs[::1 if number % 4 else -1], [f'sum_{number}'])]
        else:
            tensors[key] = value
    tensors['decoder.conv.weight'] = torch.ones(1, WIDTH, 1, 1)
    initializers = [onnx.numpy_helper.from_array(value.contiguous().numpy(), name) for name, value in tensors.items()
                    if name not in left_out]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, 'vit', [], [], initializers)), str(path))
    return path


def test_every_weight_gets_its_name_back(tmp_path):
    weights = hub_weights()
    found = read_dinov2_onnx(write_onnx(tmp_path / 'vit.onnx', weights))
    assert found.pop('embeddings.mask_token').tolist() == [[0.] * WIDTH]
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found[name], value), name
    assert dinov2_config(found) == dict(model_type='dinov2', hidden_size=WIDTH, num_hidden_layers=LAYERS,
                                        num_attention_heads=2, mlp_ratio=2, patch_size=PATCH, image_size=GRID * PATCH)


@pytest.mark.parametrize(('left_out', 'message'), [
    ('backbone.embeddings.cls_token', 'embeddings.cls_token'),
    ('onnx::Concat_7', 'position embeddings'),
    ('backbone.embeddings.patch_embeddings.projection.weight', '1 weights are missing .embeddings.patch_embeddings')])
def test_other_networks_are_refused(tmp_path, left_out, message):
    path = write_onnx(tmp_path / 'vit.onnx', hub_weights(), [left_out])
    with pytest.raises(UserError, match=rf'vit\.onnx: is not a ViT.*{message}'):
        read_dinov2_onnx(path)


def test_a_linear_layer_without_its_weight_is_refused(tmp_path):
    weights = hub_weights()
    names = list(weights)
    gone = f'onnx::MatMul_{names.index("encoder.layer.1.mlp.fc2.weight")}'
    with pytest.raises(UserError, match=r'weights are missing \(encoder\.layer\.1\.mlp\.fc2\.weight\)'):
        read_dinov2_onnx(write_onnx(tmp_path / 'vit.onnx', weights, [gone]))


def test_files_that_are_no_onnx(tmp_path):
    with pytest.raises(UserError, match='no such ONNX file'):
        read_dinov2_onnx(tmp_path / 'none.onnx')
    path = write_onnx(tmp_path / 'vit.onnx', hub_weights())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r'vit\.onnx: (is no ONNX file|.*damaged)'):
        read_dinov2_onnx(path)
