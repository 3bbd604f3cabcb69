"""Whether a compressed file is whole."""

from pathlib import Path

from cellpredx.core.errors import UserError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def check_whole(path: Path) -> None:
    """Raise UserError where a BGZF file lacks its 28-byte end block: it was cut at a block boundary."""
    with open(path, "rb") as handle:
        head = handle.read(18)
        is_bgzf = head[:4] == b"\x1f\x8b\x08\x04" and head[12:14] == b"BC"
        if is_bgzf:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - len(BGZF_END)))
            if handle.read() != BGZF_END:
                raise UserError(
                    "the file is truncated: its BGZF end block is missing", str(path.name), "copy the file again"
                )
