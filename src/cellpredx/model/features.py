"""Input features where training reads them, and products with them that leave sparse ones sparse."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from cellpredx.model.device import Place

# Above this share of non-zeros a dense product is the faster one on a CPU.
DENSE = 0.2
DENSE_BYTES = 2 << 30

# Columns of the dense factor that a product takes at once: 32 of 22,000 features stay in a core's cache, 64 do not.
PANEL = 32


def _times(rows: sp.csr_matrix, dense: torch.Tensor) -> torch.Tensor:
    """Return rows @ dense on the CPU: threaded where torch has MKL, by scipy elsewhere."""
    panels = [panel.contiguous() for panel in torch.split(dense, PANEL, dim=1)]
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return torch.cat([torch.from_numpy(np.asarray(rows @ panel.numpy())) for panel in panels], dim=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr),
            torch.from_numpy(rows.indices),
            torch.from_numpy(rows.data),
            size=rows.shape,
            check_invariants=False,
        )
    return torch.cat([matrix @ panel for panel in panels], dim=1)


def _transposed_times(rows: sp.csr_matrix, dense: torch.Tensor, threads: ThreadPoolExecutor) -> torch.Tensor:
    """Return rows^T @ dense on the CPU, panels of columns beside each other: the result is that of one product.

    The transposed matrix is only a view: to sort it by columns would take longer than the product.
    """
    products = threads.map(lambda panel: rows.T @ panel.contiguous().numpy(), torch.split(dense, PANEL, dim=1))
    return torch.cat([torch.from_numpy(product) for product in products], dim=1)


class _SparseProduct(torch.autograd.Function):
    """x W for a sparse constant x, (B, G), and W (G, m): the gradient of W is x^T dz, a sparse product as well."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, rows: sp.csr_matrix, threads: ThreadPoolExecutor) -> torch.Tensor:
        ctx.rows, ctx.threads = rows, threads
        return _times(rows, weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _transposed_times(ctx.rows, gradients[0], ctx.threads), None, None


class _SparseOnDevice:
    """A CSR matrix as tensors of a device, whose rows are gathered and made dense there."""

    def __init__(self, x: sp.csr_matrix, device: torch.device) -> None:
        self.columns = x.shape[1]
        self.starts = torch.from_numpy(x.indptr.astype(np.int64)).to(device)
        self.indices = torch.from_numpy(x.indices.astype(np.int32, copy=False)).to(device)
        self.data = torch.from_numpy(x.data).to(device)

    def dense(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return rows (all where None) as a dense (rows, G) tensor."""
        rows = torch.arange(len(self.starts) - 1, device=self.starts.device) if rows is None else rows
        begin = self.starts[rows]
        lengths = self.starts[rows + 1] - begin
        ends = lengths.cumsum(0)
        of = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        at = torch.arange(len(of), device=rows.device) + (begin - ends + lengths)[of]
        result = torch.zeros(len(rows) * self.columns, device=rows.device)
        # Every place is written once, so that the order does not matter.
        result[of * self.columns + self.indices[at]] = self.data[at]
        return result.view(len(rows), self.columns)


class Cells:
    """The normalised features of cells, (cells, G), at the place where training runs.

    On a CPU sparse, or dense where that is faster; on a GPU resident as a sparse matrix, or streamed to it.
    """

    def __init__(self, x: sp.csr_matrix, place: Place) -> None:
        self.device = place.device
        self.sparse = x
        size = x.shape[0] * x.shape[1]
        self.threads = ThreadPoolExecutor(max(1, min(2, torch.get_num_threads())))
        self.on_device: _SparseOnDevice | None = None
        self.resident: torch.Tensor | None = None
        self.streamed = False
        if place.device.type != "cpu":
            self.streamed = not place.resident
            self.on_device = None if self.streamed else _SparseOnDevice(x, place.device)
        elif x.nnz > DENSE * size and 4 * size <= DENSE_BYTES:
            self.resident = torch.from_numpy(x.toarray())

    def __len__(self) -> int:
        return int(self.sparse.shape[0])

    def batch(self, rows: torch.Tensor) -> Any:
        """Return the features of rows, (rows,) on the CPU, as `encode` reads them; may run beside other work."""
        if self.resident is not None:
            return self.resident[rows]
        if self.on_device is not None:
            return self.on_device.dense(rows.to(self.device))
        part = self.sparse[rows.numpy()]
        return _SparseOnDevice(part, self.device).dense() if self.streamed else part

    def encode(self, batch: Any, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return x W + b of a batch, (rows, m), with gradients for W (G, m) and b (m,)."""
        if isinstance(batch, torch.Tensor):
            return batch @ weight + bias
        product: torch.Tensor = _SparseProduct.apply(weight, batch, self.threads)
        return product + bias
