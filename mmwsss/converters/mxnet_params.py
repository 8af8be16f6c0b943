"""Reading parameter files of MXNet, without MXNet."""
import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmwsss.utils.errors import UserError

LIST_MAGIC = 0x112
# Arrays begin with one of these; those of the first MXNet versions with their number of dimensions.
ARRAY_MAGIC_V1 = 0xF993FAC8
ARRAY_MAGIC_V2 = 0xF993FAC9
# In the order of MXNet's type flags.
DTYPES = tuple(np.dtype(name) for name in ('<f4', '<f8', '<f2', 'u1', '<i4', 'i1', '<i8'))
MAX_DIMS = 32


def read_mxnet_params(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a ``.params`` file: a list of named arrays.

    The layout, little endian: u64 magic 0x112, u64 reserved, u64 number of arrays, the arrays, u64 number of
    names, the names (u64 length, bytes). An array: u32 magic, i32 storage type (0 is dense; not in version 1), u32
    number of dimensions, i64 dimensions, i32 device type, i32 device id, i32 type flag, values. In the oldest files
    an array begins with the u32 number of dimensions, and the dimensions are u32.

    No size that the file states is believed before that many bytes are known to be there.

    Args:
        path: The file.

    Returns:
        Name (with its prefix, ``arg:`` or ``aux:``) -> array, in the order of the file.

    Raises:
        UserError: If the file cannot be read, is truncated, damaged or of another kind, or if an array is sparse,
            empty or without a name of its own.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f'{path}: no such parameter file; check the path')
    try:
        with open(path, 'rb') as file:
            return _Reader(file, path).read_named_arrays()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check its permissions and the disk') from error


class _Reader:
    """A position in a file of known size."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.size = os.fstat(file.fileno()).st_size

    def read_named_arrays(self) -> dict[str, np.ndarray]:
        if self.size < 24 or self.unpack('<QQ')[0] != LIST_MAGIC:
            raise UserError(f'{self.path}: is no parameter file of MXNet; give the .params file')
        count, = self.unpack('<Q')
        # Every array and every name moves the position on, so a count that is too large ends at the end of the file.
        arrays = []
        while len(arrays) < count:
            arrays.append(self.read_array(len(arrays)))
        count, = self.unpack('<Q')
        if count != len(arrays):
            raise self.damaged(f'{count} names for {len(arrays)} arrays')
        names = [self.read_name() for _ in arrays]
        if len(set(names)) < len(names):
            raise self.damaged('two arrays have one name')
        if self.left():
            raise self.damaged(f'{self.left()} bytes after its end')
        return dict(zip(names, arrays))

    def read_array(self, index: int) -> np.ndarray:
        magic, = self.unpack('<I')
        storage = self.unpack('<i')[0] if magic == ARRAY_MAGIC_V2 else 0
        if storage:
            raise UserError(f'{self.path}: array {index} is sparse, which is not supported; save it as a dense one')
        old = magic not in (ARRAY_MAGIC_V1, ARRAY_MAGIC_V2)
        num_dims = magic if old else self.unpack('<I')[0]
        if not 1 <= num_dims <= MAX_DIMS:
            raise self.damaged(f'array {index} has {num_dims} dimensions')
        shape = self.unpack(f'<{num_dims}{"I" if old else "q"}')
        if min(shape) < 1:
            raise self.damaged(f'array {index} has the shape {shape}')
        *_, flag = self.unpack('<iii')
        if not 0 <= flag < len(DTYPES):
            raise self.damaged(f'array {index} is of the unknown type {flag}')
        dtype = DTYPES[flag]
        values = np.frombuffer(self.take(math.prod(shape) * dtype.itemsize), dtype)
        return values.reshape(shape).astype(dtype.newbyteorder('='))

    def read_name(self) -> str:
        length, = self.unpack('<Q')
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise self.damaged('a name is not UTF-8') from error

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def take(self, count: int) -> bytes:
        data = self.file.read(count) if count <= self.left() else b''
        if len(data) < count:
            raise self.damaged('truncated')
        return data

    def left(self) -> int:
        return self.size - self.file.tell()

    def damaged(self, what: str) -> UserError:
        return UserError(f'{self.path}: is damaged or no parameter file of MXNet ({what}, at byte {self.file.tell()}); '
                         'copy or download it again')
