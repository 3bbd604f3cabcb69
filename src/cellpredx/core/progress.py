"""Progress of long work: one line that updates on a terminal, plain lines in a log."""

import sys
import time


class Progress:
    """Say how far a long loop is: at most every `every` seconds, and once at the end."""

    def __init__(self, what: str, total: int | None = None, unit: str = "", every: float = 10.0) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.terminal = sys.stderr.isatty()
        self.every = 0.2 if self.terminal else every
        self.start = self.last = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Tell that `done` units are done, if it is time to."""
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            self._say(done, note, end="\r" if self.terminal else "\n")

    def close(self, done: int, note: str = "") -> None:
        """Tell the end."""
        self._say(done, note, end="\n")

    def _say(self, done: int, note: str, end: str) -> None:
        share = f" of {self.total:,} ({done / self.total:.0%})" if self.total else ""
        seconds = time.monotonic() - self.start
        text = f"{self.what}: {done:,}{share} {self.unit}".rstrip() + f", {seconds:.0f} s"
        print(f"{text}{', ' + note if note else ''}", end=end, file=sys.stderr, flush=True)
