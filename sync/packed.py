"""Long settings in short variables.

Platforms cap the length of a variable (Salad: 1000 characters), and a service-account key has about 2300. `NAME` can
therefore be given as `NAME_B64GZ`: the text, gzipped, in base64; what does not fit into one variable goes on in
`NAME_B64GZ_2`, `NAME_B64GZ_3`, ... (an RSA key is random, so gzip alone cannot bring it below 1000 characters).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Mapping

from sync.errors import BadSettings

SUFFIX = "_B64GZ"
MAX_TEXT_BYTES = 64 * 1024  # no setting is longer; a gzip bomb would be


def pack(name: str, text: str, *, limit_chars: int) -> dict[str, str]:
    """`text` as the variables that carry it, each value at most `limit_chars` long."""
    packed = base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
    pieces = [packed[start : start + limit_chars] for start in range(0, len(packed), limit_chars)]
    return {_piece_name(name, number): piece for number, piece in enumerate(pieces, start=1)}


def unpack(name: str, environ: Mapping[str, str]) -> str | None:
    """The text that `NAME_B64GZ` and its continuations carry, or None when there is none.

    Raises BadSettings when a piece is missing or the pieces are no gzipped UTF-8 text; the message holds no content.
    """
    pieces: list[str] = []
    while piece := environ.get(_piece_name(name, len(pieces) + 1), "").strip():
        pieces.append(piece)
    stray = _beyond(name, len(pieces), environ)
    if stray:
        raise BadSettings([f"{stray} is set, but {_piece_name(name, len(pieces) + 1)} before it is not"])
    if not pieces:
        return None
    try:
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        raw = inflate.decompress(base64.b64decode("".join(pieces), validate=True), MAX_TEXT_BYTES)
        if inflate.unconsumed_tail or not inflate.eof:
            raise BadSettings([f"{name}{SUFFIX} is cut short or longer than {MAX_TEXT_BYTES} bytes"])
        return raw.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise BadSettings(
            [f"{name}{SUFFIX} is not gzipped text in base64 (`preflight deploy pack` makes it)"]
        ) from error


def _piece_name(name: str, number: int) -> str:
    return f"{name}{SUFFIX}" if number == 1 else f"{name}{SUFFIX}_{number}"


def _beyond(name: str, count: int, environ: Mapping[str, str]) -> str | None:
    """A set variable with a number after a gap, if there is one."""
    for key, value in sorted(environ.items()):
        number = key.removeprefix(f"{name}{SUFFIX}_")
        if number != key and number.isdigit() and int(number) > count and value.strip():
            return key
    return None
