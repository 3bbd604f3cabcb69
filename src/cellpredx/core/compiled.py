"""numba's `njit`, with a cache that several processes may fill.

Import `njit` from here, and import this module before a library that compiles with numba: umap, scanpy.
"""

import itertools
import secrets

from numba import njit
from numba.core.bytecode import FunctionIdentity

__all__ = ["njit"]

# numba numbers what it compiles from 1 in every process, and the numbers end up in the symbols of the cached code. Two
# helpers of one name from two processes can then share a symbol, and a third process that loads both runs one for the
# other: a sort that does not sort, without an error (numba issue 10486). Numbers from a random start do not meet.
FunctionIdentity._unique_ids = itertools.count(secrets.randbits(62))
