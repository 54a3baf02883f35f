"""Tensors exchanged with the benches: a file of an 8-byte little-endian header length, a JSON header, then the raw data.

The header maps a name to {"dtype", "shape", "data_offsets"}; dtypes are F32, I32 and F64. (It is the safetensors layout, read here
in a few lines because the Python package is not installed everywhere.)
"""

import json
import struct

import numpy as np

DTYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I32": np.dtype("<i4"), "U32": np.dtype("<u4")}


def read_tensors(path):
    """The arrays of the file at `path` by name."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return arrays
