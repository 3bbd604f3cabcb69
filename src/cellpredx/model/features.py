"""Input features on the device where training runs, and products with them that leave sparse ones sparse."""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray


def _times(rows: sp.csr_matrix, dense: torch.Tensor) -> torch.Tensor:
    """Return rows @ dense on the CPU: threaded where torch has MKL, by scipy elsewhere."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return torch.from_numpy(np.asarray(rows @ dense.numpy()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr),
            torch.from_numpy(rows.indices),
            torch.from_numpy(rows.data),
            size=rows.shape,
            check_invariants=False,
        )
    return matrix @ dense


class _SparseProduct(torch.autograd.Function):
    """x W for a sparse constant x, (B, G), and W (G, m): the gradient of W is x^T dz, a sparse product as well."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, rows: sp.csr_matrix) -> torch.Tensor:
        ctx.rows = rows
        return _times(rows, weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _times(ctx.rows.T.tocsr(), gradients[0].contiguous()), None


# Above this share of non-zeros a dense product is the faster one.
DENSE = 0.2
DENSE_BYTES = 2 << 30


class Cells:
    """The normalised features of cells, (cells, features), resident on the device where training runs."""

    def __init__(self, x: sp.csr_matrix, device: torch.device) -> None:
        self.device = device
        self.sparse = x
        size = x.shape[0] * x.shape[1]
        dense = device.type == "cuda" or (x.nnz > DENSE * size and 4 * size <= DENSE_BYTES)
        self.resident = torch.from_numpy(x.toarray()).to(device) if dense else None

    def __len__(self) -> int:
        return int(self.sparse.shape[0])

    def encode(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return x[rows] W + b, (rows, m), with gradients for W (features, m) and b (m,)."""
        if self.resident is not None:
            return self.resident[rows.to(self.device)] @ weight + bias
        product: torch.Tensor = _SparseProduct.apply(weight, self.sparse[rows.numpy()])
        return product + bias

    def embed(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return x W + b of all cells, (cells, m); W is (features, m)."""
        return np.asarray(self.sparse @ weight, dtype=np.float32) + bias
