"""Writes ONNX files of one convolution without the onnx package: the few protobuf messages that they consist of.

Numbers of the fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""
import struct

import numpy as np

FLOAT, INT64 = 1, 7


def write_saliency_onnx(path, weight, bias=0., size=320, root=False, fixed_batch=False):
    """Writes a network N x 3 x size x size -> p = w * x + b at each pixel, and -p as a second output.

    Args:
        path: The file.
        weight: [K, 3]: K output channels (1 in a saliency model).
        bias: b of each channel.
        size: Height and width that the file declares.
        root: p = sqrt(w * x + b), which is NaN for negative values.
        fixed_batch: Reshape p to 1 x K x size x size, which no other batch can be.
    """
    weight = np.asarray(weight, np.float32)
    channels = len(weight)
    shape = (1, channels, size, size)
    nodes = [_node('Conv', ['x', 'w', 'b'], 'conv', kernel_shape=[1, 1])]
    last = 'conv'
    for op, inputs, wanted in (('Sqrt', [], root), ('Reshape', ['shape'], fixed_batch)):
        if wanted:
            nodes.append(_node(op, [last, *inputs], op.lower()))
            last = op.lower()
    nodes += [_node('Identity', [last], 'first'), _node('Neg', [last], 'second')]
    tensors = [_tensor('w', weight[:, :, None, None]), _tensor('b', np.full(channels, bias, np.float32)),
               _tensor('shape', np.array(shape, np.int64))]
    graph = b''.join([*(_field(1, node) for node in nodes), _field(2, 'tiny'), *(_field(5, t) for t in tensors),
                      _field(11, _value('x', (1, 3, size, size))),
                      _field(12, _value('first', shape)), _field(12, _value('second', shape))])
    model = _field(1, 7) + _field(2, 'test') + _field(7, graph) + _field(8, _field(1, '') + _field(2, 13))
    path.write_bytes(model)
    return path


def _varint(value):
    data = b''
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _node(op, inputs, output, **attributes):
    fields = [_field(1, name) for name in inputs] + [_field(2, output), _field(3, f'{op}_{output}'), _field(4, op)]
    for name, values in attributes.items():
        fields.append(_field(5, _field(1, name) + b''.join(_field(8, v) for v in values) + _field(20, 7)))
    return b''.join(fields)


def _tensor(name, values):
    kind, letter = (FLOAT, 'f') if values.dtype == np.float32 else (INT64, 'q')
    data = struct.pack(f'<{values.size}{letter}', *values.ravel().tolist())
    return b''.join(_field(1, n) for n in values.shape) + _field(2, kind) + _field(8, name) + _field(9, data)


def _value(name, shape):
    dims = b''.join(_field(1, _field(1, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))
