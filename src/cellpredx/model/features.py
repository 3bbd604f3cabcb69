"""Input features on the device where training runs, and products with them that leave sparse ones sparse."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray


class _SparseProduct(torch.autograd.Function):
    """x W^T for a sparse constant x: the gradient of W is dz^T x, sparse as well."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, rows: sp.csr_matrix) -> torch.Tensor:
        ctx.rows = rows
        return torch.from_numpy(np.asarray(rows @ weight.detach().numpy().T))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        product = ctx.rows.T @ gradients[0].numpy()
        return torch.from_numpy(np.ascontiguousarray(product.T)), None


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
        """Return x[rows] W^T + b, (rows, m), with gradients for W and b."""
        if self.resident is not None:
            return torch.nn.functional.linear(self.resident[rows.to(self.device)], weight, bias)
        product: torch.Tensor = _SparseProduct.apply(weight, self.sparse[rows.numpy()])
        return product + bias

    def embed(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return x W^T + b of all cells, (cells, m)."""
        return np.asarray(self.sparse @ weight.T, dtype=np.float32) + bias
