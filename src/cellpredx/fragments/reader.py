"""Fragment files as blocks of whole lines, and lines as integers."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip_threaded, isal_zlib
from numpy.typing import NDArray

from cellpredx.core.compiled import njit
from cellpredx.core.errors import UserError
from cellpredx.core.text import ALWAYS_UNPACKED, MOST_UNPACKED
from cellpredx.core.whole import check_whole

# Small enough that a block's bytes are still in the cache when they are parsed.
BLOCK = 1 << 20
LONGEST_LINE = 64 << 20
ISAL_ERRORS: Any = (isal_zlib.error,)

OK, GROW, TOO_FEW_COLUMNS, BAD_NUMBER, EMPTY_RANGE, BLANK_LINE, COMMENT, LONG_NAME, SKIP, END = range(10)
TAB, LF, CR, HASH = 9, 10, 13, 35
KEY_WORDS = 64
LONG = 1 << 63
LONGEST_NAME = 8 * KEY_WORDS
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
    LONG_NAME: (f"a chromosome or barcode has more than {LONGEST_NAME - 1} characters", "give a fragment file"),
    COMMENT: (
        "a line with # after the first fragment",
        "keep comments at the head; if files were joined, give them as rows of one sample instead",
    ),
}


def _open(path: Path) -> BinaryIO:
    """Open a file, plain or compressed; a compressed one is decompressed in a thread of its own."""
    with open(path, "rb") as head:
        compressed = head.read(2) == b"\x1f\x8b"
    opener: Any = partial(igzip_threaded.open, threads=1) if compressed else open
    return cast(BinaryIO, opener(path, "rb"))


def read_blocks(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield a file's bytes (plain, gzip or BGZF) in blocks that end at a line's end."""
    check_whole(path)
    rest = b""
    most, unpacked = max(ALWAYS_UNPACKED, MOST_UNPACKED * path.stat().st_size), 0
    try:
        with _open(path) as handle:
            while chunk := handle.read(BLOCK):
                unpacked += len(chunk)
                if unpacked > most:
                    raise UserError(
                        f"the fragment file unpacks to more than {MOST_UNPACKED} times its size",
                        path.name,
                        "no fragments do: give the file that the aligner wrote",
                    )
                cut = chunk.rfind(b"\n") + 1
                if cut == 0:
                    rest += chunk
                    if len(rest) > LONGEST_LINE:
                        raise UserError(
                            f"a line is longer than {LONGEST_LINE >> 20} MB",
                            path.name,
                            "give a fragment file (.tsv.gz)",
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


@njit(cache=True, nogil=True)
def _mix(code, word):  # type: ignore[no-untyped-def]
    """Return the hash `code` with eight more bytes in it."""
    code = (code ^ word) * np.uint64(0x9E3779B97F4A7C15)
    return code ^ (code >> np.uint64(32))


@njit(cache=True, nogil=True)
def _pack(buffer, begin, end, key):  # type: ignore[no-untyped-def]
    """Write buffer[begin:end] and a tab, eight bytes a word, to `key`; return (words, hash).

    No name has a tab, so two names are equal where their words are.
    """
    code = np.uint64(0)
    words = 0
    while end - begin >= 8:
        word = np.uint64(0)
        for i in range(8):
            word = (word << np.uint64(8)) | np.uint64(buffer[begin + i])
        key[words] = word
        code = _mix(code, word)
        words += 1
        begin += 8
    word = np.uint64(0)
    for i in range(begin, end):
        word = (word << np.uint64(8)) | np.uint64(buffer[i])
    word = ((word << np.uint64(8)) | np.uint64(TAB)) << np.uint64(8 * (7 - (end - begin)))
    key[words] = word
    return words + 1, _mix(code, word)


@njit(cache=True, nogil=True)
def _find(table, offsets, text, count, key, words, code):  # type: ignore[no-untyped-def]
    """Return the number of the name `key`, adding it where it is new.

    A place of `table` holds a name's first three words and its number + 1, 0 where it is free: a barcode is found, and
    compared in full, in one line of memory. Of a name of more words it holds the hash, and LONG beside the number.
    """
    mask = np.uint64(len(table) - 1)
    long = np.uint64(LONG) if words > 3 else np.uint64(0)
    first = code if words > 3 else key[0]
    second = key[1] if 1 < words < 4 else np.uint64(0)
    third = key[2] if words == 3 else np.uint64(0)
    place = code & mask
    while True:
        entry = table[place, 3]
        if entry == np.uint64(0):
            table[place, 0] = first
            table[place, 1] = second
            table[place, 2] = third
            table[place, 3] = np.uint64(count + 1) | long
            base = offsets[count]
            for i in range(words):
                text[base + i] = key[i]
            offsets[count + 1] = base + words
            return count
        known = np.int64(entry & ~np.uint64(LONG)) - 1
        if (
            table[place, 0] == first
            and table[place, 1] == second
            and table[place, 2] == third
            and (entry & np.uint64(LONG)) == long
        ):
            equal = True
            if words > 3:
                base = offsets[known]
                equal = offsets[known + 1] - base == words
                for i in range(words if equal else 0):
                    equal = equal and text[base + i] == key[i]
            if equal:
                return known
        place = (place + np.uint64(1)) & mask


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _fault(buffer, position, at_head):  # type: ignore[no-untyped-def]
    """Return (status, column) of a line that is no fragment: a fault, SKIP (a comment at the head) or END (blanks)."""
    tabs = np.empty(5, np.int64)
    columns = 0
    line_end = position
    while buffer[line_end] != LF:
        if buffer[line_end] == TAB and columns < 5:
            tabs[columns] = line_end
            columns += 1
        line_end += 1
    stop = line_end
    if stop > position and buffer[stop - 1] == CR:
        stop -= 1
    if stop == position:
        for i in range(line_end, len(buffer)):
            if buffer[i] != LF and buffer[i] != CR:
                return BLANK_LINE, 1
        return END, 0
    if buffer[position] == HASH:
        return (SKIP, 0) if at_head else (COMMENT, 1)
    if columns < 3:
        return TOO_FEW_COLUMNS, columns + 1
    start = _number(buffer, tabs[0] + 1, tabs[1])
    end = _number(buffer, tabs[1] + 1, tabs[2])
    if start < 0 or end < 0:
        return BAD_NUMBER, 2 if start < 0 else 3
    if start >= end:
        return EMPTY_RANGE, 2
    if (tabs[3] if columns > 3 else stop) == tabs[2] + 1 or tabs[0] == position:
        return TOO_FEW_COLUMNS, 4
    if columns > 3 and _number(buffer, tabs[3] + 1, tabs[4] if columns > 4 else stop) < 0:
        return BAD_NUMBER, 5
    return LONG_NAME, 1 if tabs[0] - position >= LONGEST_NAME else 4


@njit(cache=True, nogil=True)
def _tokenise(  # type: ignore[no-untyped-def]
    buffer, position, at_head, rows, barcode_ends, contigs, pairs, row, c_table, c_offsets, c_text, c_count
):
    """Parse lines from `position` into rows (start, end, where the barcode begins), where it ends, contigs and pairs.

    Returns (status, position, at_head, row, c_count, column). GROW asks for a larger table of names and is called again
    from the same position. Pairs are -1 without the column. Each byte of a sound line is looked at once; `_fault` reads
    the others again.
    """
    size = len(buffer)
    key = np.empty(KEY_WORDS, np.uint64)
    last = np.int64(-1)
    last_begin = last_length = np.int64(0)
    while position < size:
        if c_offsets[c_count] + KEY_WORDS > len(c_text) or c_count + 1 >= len(c_offsets):
            return GROW, position, at_head, row, c_count, 0
        # The contig: most often that of the line before.
        at = position
        same = last >= 0 and position + last_length < size and buffer[position + last_length] == TAB
        if same:
            for i in range(last_length):
                if buffer[last_begin + i] != buffer[position + i]:
                    same = False
                    break
        if same:
            at = position + last_length
        else:
            while buffer[at] != TAB and buffer[at] != LF:
                at += 1
        contig_end = at
        sound = buffer[at] == TAB and position < at < position + LONGEST_NAME and buffer[position] != HASH
        start = end = np.int64(0)
        barcode_begin = barcode_end = np.int64(0)
        pair = np.int64(-1)
        if sound:
            at += 1
            first = at
            digit = np.int64(buffer[at]) - 48
            while 0 <= digit <= 9:
                start = start * 10 + digit
                at += 1
                digit = np.int64(buffer[at]) - 48
            sound = buffer[at] == TAB and first < at <= first + 10
        if sound:
            at += 1
            first = at
            digit = np.int64(buffer[at]) - 48
            while 0 <= digit <= 9:
                end = end * 10 + digit
                at += 1
                digit = np.int64(buffer[at]) - 48
            sound = buffer[at] == TAB and first < at <= first + 10 and start < end < 2147483647
        if sound:
            at += 1
            barcode_begin = at
            while buffer[at] != TAB and buffer[at] != LF:
                at += 1
            barcode_end = at - 1 if buffer[at] == LF and buffer[at - 1] == CR else at
            sound = barcode_begin < barcode_end < barcode_begin + LONGEST_NAME
        if sound and buffer[at] == TAB:
            at += 1
            first = at
            pair = np.int64(0)
            digit = np.int64(buffer[at]) - 48
            while 0 <= digit <= 9:
                pair = pair * 10 + digit
                at += 1
                digit = np.int64(buffer[at]) - 48
            sound = first < at <= first + 10 and pair < 2147483647
            if buffer[at] == CR:
                at += 1
            if buffer[at] == TAB:
                while buffer[at] != LF:
                    at += 1
            sound = sound and buffer[at] == LF
        if not sound:
            status, column = _fault(buffer, position, at_head)
            if status != SKIP:
                return status, position, at_head, row, c_count, column
            while buffer[position] != LF:
                position += 1
            position += 1
            continue
        if not same:
            words, code = _pack(buffer, position, contig_end, key)
            last = _find(c_table, c_offsets, c_text, c_count, key, words, code)
            if last == c_count:
                c_count += 1
        last_begin = position
        last_length = contig_end - position
        rows[row, 0] = start
        rows[row, 1] = end
        rows[row, 2] = barcode_begin
        barcode_ends[row] = barcode_end
        contigs[row] = last
        pairs[row] = pair
        row += 1
        at_head = False
        position = at + 1
    return OK, position, at_head, row, c_count, 0


@njit(cache=True, nogil=True)
def _number_barcodes(buffer, rows, ends, begin, table, offsets, text, count, base):  # type: ignore[no-untyped-def]
    """Put numbers (from `base` on) for the places of barcodes in `rows`, from row `begin`; return (row, count).

    It stops where the table has to grow. Apart from the parsing, since the look-ups then overlap in the processor.
    """
    key = np.empty(KEY_WORDS, np.uint64)
    for row in range(begin, len(rows)):
        if offsets[count] + KEY_WORDS > len(text) or count + 1 >= len(offsets):
            return row, count
        words, code = _pack(buffer, rows[row, 2], ends[row], key)
        barcode = _find(table, offsets, text, count, key, words, code)
        if barcode == count:
            count += 1
        rows[row, 2] = base + barcode
    return len(rows), count


class Names:
    """A growing table of names (contigs, barcodes), numbered as they are first seen."""

    def __init__(self, capacity: int = 1 << 10) -> None:
        self.count = 0
        self.table = np.zeros((2 * capacity, 4), np.uint64)
        self.offsets = np.zeros(capacity + 1, np.int64)
        self.text = np.empty(4 * capacity + KEY_WORDS, np.uint64)

    def grow(self) -> None:
        """Double the capacity."""
        self.table = np.zeros((2 * len(self.table), 4), np.uint64)
        _rehash(self.table, self.offsets, self.text, self.count)
        self.offsets = np.concatenate([self.offsets, np.zeros(len(self.offsets) - 1, np.int64)])
        self.text = np.concatenate([self.text, np.empty_like(self.text)])

    def names(self) -> list[str]:
        """Return the names in the order of their numbers."""
        raw = self.text[: self.offsets[self.count]].astype(">u8").tobytes()
        ends = (8 * self.offsets[: self.count + 1]).tolist()
        return [raw[a:b].split(b"\t", 1)[0].decode("utf-8", "replace") for a, b in pairwise(ends)]


@njit(cache=True)
def _rehash(table, offsets, text, count):  # type: ignore[no-untyped-def]
    again = np.empty_like(text)
    places = np.zeros_like(offsets)
    for number in range(count):
        key = text[offsets[number] : offsets[number + 1]]
        code = np.uint64(0)
        for word in key:
            code = _mix(code, word)
        _find(table, places, again, number, key, len(key), code)


@dataclass(frozen=True)
class Fragments:
    """The fragments of a block: `rows` of (start, end, barcode number), bp, half-open; contigs; read pairs or -1.

    `first_line` is the line of the first of them in its file.
    """

    rows: NDArray[np.int32]
    contig: NDArray[np.int32]
    pairs: NDArray[np.int32]
    first_line: int


def _refusal(status: int, text: bytes, path: Path, line: int, column: int) -> UserError:
    what, remedy = _MESSAGES[status]
    shown = text.split(b"\n")[0].decode("utf-8", "replace")
    return UserError(f"{what}: {shown!r}", f"{path.name}, line {line}, column {column}", remedy)


def read_fragments(path: Path, contigs: Names, barcodes: Names, base: int = 0) -> Iterator[Fragments]:
    """Yield the fragments of a file (3 coordinates, barcode, optionally read pairs) block by block.

    Names are added to `contigs` and `barcodes`; a barcode's number is `base` more than its place there. Raises
    UserError with line and column for what is not a fragment, and for a file without one.
    """
    line = 1
    at_head = True
    blank_line: int | None = None
    seen = 0
    for block in read_blocks(path):
        # The shortest line has eight bytes.
        most = len(block) // 8 + 1
        rows = np.empty((most, 3), np.int32)
        contig, pairs, barcode_ends = (np.empty(most, np.int32) for _ in range(3))
        position = row = 0
        while True:
            state: Any = _tokenise(
                block, position, at_head, rows, barcode_ends, contig, pairs, row,
                contigs.table, contigs.offsets, contigs.text, contigs.count,
            )  # fmt: skip
            status, position, at_head, row, contigs.count, column = state
            if status != GROW:
                break
            contigs.grow()
        if blank_line is not None and (row or status not in (OK, END)):
            raise _refusal(BLANK_LINE, b"", path, blank_line, 1)
        if status == END:
            blank_line = blank_line or line + int(np.count_nonzero(block[:position] == LF))
        elif status != OK:
            number = line + int(np.count_nonzero(block[:position] == LF))
            raise _refusal(status, block[position : position + 80].tobytes(), path, number, column)
        numbered = 0
        while True:
            numbered, barcodes.count = _number_barcodes(
                block, rows[:row], barcode_ends, numbered,
                barcodes.table, barcodes.offsets, barcodes.text, barcodes.count, base,
            )  # fmt: skip
            if numbered == row:
                break
            barcodes.grow()
        # Comments stand only before the first fragment, so lines and rows run together after it.
        heads = 0
        if not seen:
            heads = int(block[0] == HASH) + int(np.count_nonzero((block[:-1] == LF) & (block[1:] == HASH)))
        if row:
            yield Fragments(rows[:row], contig[:row], pairs[:row], line + heads)
        seen += row
        line += row + heads
    if seen == 0:
        raise UserError("the file has no fragment", path.name, "give the fragments that the aligner wrote")
