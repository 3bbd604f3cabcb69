"""Fragment files as blocks of whole lines, and lines as integers."""

import gzip
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, isal_zlib
from numba import njit
from numpy.typing import NDArray

from cellpredx.core.errors import UserError
from cellpredx.core.whole import check_whole

BLOCK = 16 << 20
ISAL_ERRORS: Any = (isal_zlib.error,)

OK, GROW, TOO_FEW_COLUMNS, BAD_NUMBER, EMPTY_RANGE, BLANK_LINE, COMMENT = range(7)
_MESSAGES = {
    TOO_FEW_COLUMNS: (
        "a fragment has fewer than 4 tab-separated columns",
        "write: chrom, start, end, barcode, read pairs (10x fragment file), separated by tabs",
    ),
    BAD_NUMBER: (
        "start, end or read pairs is not a whole number from 0 to 2147483646",
        "write 0-based coordinates as plain digits",
    ),
    EMPTY_RANGE: ("start is not before end", "write half-open intervals: start < end"),
    BLANK_LINE: ("a blank line between fragments", "remove it"),
    COMMENT: (
        "a line with # after the first fragment",
        "keep comments at the head; if files were joined, give them as rows of one sample instead",
    ),
}


def _open(path: Path) -> BinaryIO:
    with open(path, "rb") as head:
        opener: Any = igzip.open if head.read(2) == b"\x1f\x8b" else open
    handle: BinaryIO = opener(path, "rb")
    return handle


def read_blocks(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield a file's bytes (plain, gzip or BGZF) in blocks that end at a line's end."""
    check_whole(path)
    rest = b""
    try:
        with _open(path) as handle:
            while chunk := handle.read(BLOCK):
                cut = chunk.rfind(b"\n") + 1
                if cut == 0:
                    rest += chunk
                    if len(rest) > 4 * BLOCK:
                        raise UserError(
                            f"a line is longer than {len(rest) >> 20} MB", path.name, "give a fragment file (.tsv.gz)"
                        )
                    continue
                yield np.frombuffer(rest + chunk[:cut], dtype=np.uint8)
                rest = chunk[cut:]
    except (EOFError, zlib.error, gzip.BadGzipFile, *ISAL_ERRORS) as error:
        raise UserError(
            f"the compressed data are damaged or cut short ({error})", path.name, "copy the file again"
        ) from error
    if rest:
        yield np.frombuffer(rest + b"\n", dtype=np.uint8)


@njit(cache=True)
def _find(text, offsets, slots, hashes, count, buffer, begin, end):  # type: ignore[no-untyped-def]
    """Return the number of buffer[begin:end] in a table of names, adding it; open addressing, FNV-1a."""
    code = np.uint64(14695981039346656037)
    for i in range(begin, end):
        code = (code ^ np.uint64(buffer[i])) * np.uint64(1099511628211)
    mask = np.uint64(len(slots) - 1)
    slot = (code ^ (code >> np.uint64(32))) & mask
    length = end - begin
    while True:
        known = slots[slot]
        if known < 0:
            slots[slot] = count
            hashes[count] = code
            base = offsets[count]
            for i in range(length):
                text[base + i] = buffer[begin + i]
            offsets[count + 1] = base + length
            return count
        if hashes[known] == code and offsets[known + 1] - offsets[known] == length:
            same = True
            base = offsets[known]
            for i in range(length):
                if text[base + i] != buffer[begin + i]:
                    same = False
                    break
            if same:
                return known
        slot = (slot + np.uint64(1)) & mask


@njit(cache=True)
def _number(buffer, begin, end):  # type: ignore[no-untyped-def]
    """Return buffer[begin:end] as a whole number below 2**31 - 1, or -1."""
    if begin >= end or end - begin > 10:
        return -1
    value = 0
    for i in range(begin, end):
        digit = int(buffer[i]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value if value < 2147483647 else -1


@njit(cache=True)
def _tokenise(  # type: ignore[no-untyped-def]
    buffer,
    position,
    at_head,
    starts,
    ends,
    contigs,
    barcodes,
    pairs,
    row,
    c_text,
    c_offsets,
    c_slots,
    c_hashes,
    c_count,
    b_text,
    b_offsets,
    b_slots,
    b_hashes,
    b_count,
):
    """Parse lines from `position`; return (status, position, at_head, row, c_count, b_count, column).

    GROW asks for larger name tables and is called again from the same position.
    """
    size = len(buffer)
    tabs = np.empty(5, np.int64)
    last = -1
    while position < size:
        line_end = position
        columns = 0
        while buffer[line_end] != 10:
            if buffer[line_end] == 9 and columns < 5:
                tabs[columns] = line_end
                columns += 1
            line_end += 1
        stop = line_end
        if stop > position and buffer[stop - 1] == 13:
            stop -= 1
        if stop == position:
            rest_blank = True
            for i in range(line_end, size):
                if buffer[i] != 10 and buffer[i] != 13:
                    rest_blank = False
                    break
            if not rest_blank:
                return BLANK_LINE, position, at_head, row, c_count, b_count, 1
            position = size
            break
        if buffer[position] == 35:
            if not at_head:
                return COMMENT, position, at_head, row, c_count, b_count, 1
            position = line_end + 1
            continue
        if columns < 3:
            return TOO_FEW_COLUMNS, position, at_head, row, c_count, b_count, columns + 1
        if (
            c_count + 1 >= len(c_slots) // 2
            or b_count + 1 >= len(b_slots) // 2
            or c_offsets[c_count] + (line_end - position) > len(c_text)
            or b_offsets[b_count] + (line_end - position) > len(b_text)
        ):
            return GROW, position, at_head, row, c_count, b_count, 0
        start = _number(buffer, tabs[0] + 1, tabs[1])
        if start < 0:
            return BAD_NUMBER, position, at_head, row, c_count, b_count, 2
        end = _number(buffer, tabs[1] + 1, tabs[2])
        if end < 0:
            return BAD_NUMBER, position, at_head, row, c_count, b_count, 3
        if start >= end:
            return EMPTY_RANGE, position, at_head, row, c_count, b_count, 2
        barcode_end = tabs[3] if columns > 3 else stop
        if barcode_end == tabs[2] + 1 or tabs[0] == position:
            return TOO_FEW_COLUMNS, position, at_head, row, c_count, b_count, 4
        pair = 1
        if columns > 3:
            pair = _number(buffer, tabs[3] + 1, tabs[4] if columns > 4 else stop)
            if pair < 0:
                return BAD_NUMBER, position, at_head, row, c_count, b_count, 5
        length = tabs[0] - position
        same = last >= 0 and c_offsets[last + 1] - c_offsets[last] == length
        if same:
            base = c_offsets[last]
            for i in range(length):
                if c_text[base + i] != buffer[position + i]:
                    same = False
                    break
        if not same:
            last = _find(c_text, c_offsets, c_slots, c_hashes, c_count, buffer, position, tabs[0])
            if last == c_count:
                c_count += 1
        barcode = _find(b_text, b_offsets, b_slots, b_hashes, b_count, buffer, tabs[2] + 1, barcode_end)
        if barcode == b_count:
            b_count += 1
        starts[row] = start
        ends[row] = end
        contigs[row] = last
        barcodes[row] = barcode
        pairs[row] = pair
        row += 1
        at_head = False
        position = line_end + 1
    return OK, position, at_head, row, c_count, b_count, 0


class Names:
    """A growing table of names (contigs, barcodes), numbered as they are first seen."""

    def __init__(self, capacity: int = 1 << 10) -> None:
        self.count = 0
        self.slots = np.full(2 * capacity, -1, np.int64)
        self.hashes = np.empty(2 * capacity, np.uint64)
        self.offsets = np.zeros(2 * capacity + 1, np.int64)
        self.text = np.empty(64 * capacity, np.uint8)

    def grow(self) -> None:
        """Double the capacity."""
        size = 2 * len(self.slots)
        slots = np.full(size, -1, np.int64)
        mask = np.uint64(size - 1)
        _rehash(slots, self.hashes, self.count, mask)
        self.slots = slots
        self.hashes = np.concatenate([self.hashes, np.empty_like(self.hashes)])
        self.offsets = np.concatenate([self.offsets, np.zeros(len(self.offsets) - 1, np.int64)])
        self.text = np.concatenate([self.text, np.empty_like(self.text)])

    def names(self, begin: int = 0) -> list[str]:
        """Return the names from number `begin` on."""
        raw = self.text.tobytes()
        ends = self.offsets[begin : self.count + 1].tolist()
        return [raw[a:b].decode("utf-8", "replace") for a, b in pairwise(ends)]


@njit(cache=True)
def _rehash(slots, hashes, count, mask):  # type: ignore[no-untyped-def]
    for number in range(count):
        slot = (hashes[number] ^ (hashes[number] >> np.uint64(32))) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number


class Fragments:
    """The fragments of one block: start, end (bp, half-open), contig and barcode numbers, read pairs.

    `first_line` is the line of the first of them in its file.
    """

    def __init__(self, arrays: list[NDArray[np.int32]], first_line: int) -> None:
        self.start, self.end, self.contig, self.barcode, self.pairs = arrays
        self.first_line = first_line


def read_fragments(path: Path, contigs: Names, barcodes: Names) -> Iterator[Fragments]:
    """Yield the fragments of a file (3 coordinates, barcode, optionally read pairs) block by block.

    Names are added to `contigs` and `barcodes`. Raises UserError with line and column for what is not a
    fragment, and for a file without one.
    """
    line = 1
    at_head = True
    seen = 0
    for block in read_blocks(path):
        newlines = int(np.count_nonzero(block == 10))
        arrays = [np.empty(newlines, np.int32) for _ in range(5)]
        position = row = 0
        while True:
            state: Any = _tokenise(
                block,
                position,
                at_head,
                *arrays,
                row,
                contigs.text,
                contigs.offsets,
                contigs.slots,
                contigs.hashes,
                contigs.count,
                barcodes.text,
                barcodes.offsets,
                barcodes.slots,
                barcodes.hashes,
                barcodes.count,
            )
            status, position, at_head, row, contigs.count, barcodes.count, column = state
            if status != GROW:
                break
            for table in (contigs, barcodes):
                table.grow()
        if status != OK:
            number = line + int(np.count_nonzero(block[:position] == 10))
            what, remedy = _MESSAGES[status]
            text = block[position : position + 80].tobytes().split(b"\n")[0].decode("utf-8", "replace")
            raise UserError(f"{what}: {text!r}", f"{path.name}, line {number}, column {column}", remedy)
        if row:
            # Comments stand only before the first fragment, so lines and rows run together after it.
            heads = int(block[0] == 35) + int(np.count_nonzero((block[:-1] == 10) & (block[1:] == 35)))
            yield Fragments([a[:row] for a in arrays], line + heads)
        seen += row
        line += newlines
    if seen == 0:
        raise UserError("the file has no fragment", path.name, "give the fragments that the aligner wrote")
