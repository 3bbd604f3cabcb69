"""How many threads the libraries under numpy and torch take."""

import os


def limit(threads: int) -> None:
    """Let them take `threads`. They read it when they are loaded, so this comes before numpy is imported.

    The last digits of sums depend on the threads, and on a shared node a task has those that it asked for.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Threads that wait by spinning slow a shared node down, and themselves most; a moment of it spares a wake-up.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def allowed() -> int:
    """Return how many threads this process may take: what `limit` said, else one."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else 1
