"""Matrix products of two float32 n × n matrices: PyTorch, NumPy and OpenBLAS called directly. One run is one product."""

import ctypes
import ctypes.util

import numpy as np


def factors(n):
    """Two matrices of sines, as the other side makes them."""
    index = np.arange(1, n * n + 1, dtype=np.float64)
    return [np.sin(seed * index).astype(np.float32).reshape(n, n) for seed in (1, 2)]


def torch_product(n):
    import torch

    a, b = (torch.from_numpy(factor) for factor in factors(n))
    out = torch.empty(n, n)
    return lambda: torch.mm(a, b, out=out)


def numpy_product(n):
    a, b = factors(n)
    out = np.empty((n, n), np.float32)
    return lambda: np.matmul(a, b, out=out)


def openblas_library():
    """OpenBLAS's shared library; raises OSError where there is none."""
    return ctypes.CDLL("libopenblas.so.0")


def openblas_product(n):
    library = openblas_library()
    a, b = factors(n)
    out = np.empty((n, n), np.float32)
    row_major, no_transpose = 101, 111
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    pa, pb, pc = (matrix.ctypes.data_as(ctypes.c_void_p) for matrix in (a, b, out))
    sgemm = library.cblas_sgemm
    sgemm.restype = None

    def run():
        sgemm(row_major, no_transpose, no_transpose, n, n, n, one, pa, n, pb, n, zero, pc, n)
        return out  # keeps the arrays alive

    run.factors = (a, b)
    return run


PRODUCTS = {"pytorch": torch_product, "numpy": numpy_product, "openblas": openblas_product}


def blas_name():
    """What OpenBLAS says it is and which kernels it chose, or that it is not there."""
    try:
        library = openblas_library()
    except OSError as error:
        return f"missing: {error}"
    library.openblas_get_config.restype = ctypes.c_char_p
    library.openblas_get_corename.restype = ctypes.c_char_p
    return f"{library.openblas_get_config().decode().strip()}; kernels {library.openblas_get_corename().decode()}"
