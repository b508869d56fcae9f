"""Which offsets of a partition are done: a contiguous watermark over completions in any order."""

from __future__ import annotations

import base64
import binascii

WINDOW = 16_384
"""Offsets between the watermark and the newest taken one. Their bitmap in base64 stays below the 4,096 bytes that
Kafka allows for the metadata of a commit."""
_FORMAT = "1:"


class OffsetTracker:
    """Offsets are *taken* in ascending order and *completed* in any.

    The watermark is the lowest offset that is not completed: what a consumer that starts again has to read from.
    `metadata` tells it what is completed beyond, so that it repeats nothing.
    """

    def __init__(self, watermark: int, metadata: str = "") -> None:
        self._watermark = watermark
        self._next = watermark
        # Bit i stands for offset watermark + i.
        self._completed = _decode(metadata)

    @property
    def watermark(self) -> int:
        """The offset to commit."""
        # Adding one turns the completed offsets at the low end into zeros and stops at the first that is missing.
        contiguous = (~self._completed & (self._completed + 1)).bit_length() - 1
        if contiguous:
            self._completed >>= contiguous
            self._watermark += contiguous
            self._next = max(self._next, self._watermark)
        return self._watermark

    @property
    def metadata(self) -> str:
        """The completions beyond the watermark, for the commit; read `watermark` first."""
        bits = self._completed
        if not bits:
            return ""
        return _FORMAT + base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()

    @property
    def next_offset(self) -> int:
        """The offset after the newest that was taken."""
        return self._next

    @property
    def full(self) -> bool:
        """Whether no further offset should be taken for now."""
        return self._next - self._watermark >= WINDOW and self._next - self.watermark >= WINDOW

    def take(self, offset: int) -> bool:
        """Note that an offset is being worked on. False where it was completed before.

        Offsets that Kafka left out in between count as completed.
        """
        if offset < self._watermark:
            return False
        if offset > self._next:
            missing = offset - self._next
            self._completed |= ((1 << missing) - 1) << (self._next - self._watermark)
        self._next = max(self._next, offset + 1)
        return not self._completed >> (offset - self._watermark) & 1

    def complete(self, offset: int) -> None:
        """Note that an offset is done with. Once more does no harm."""
        if offset >= self._watermark:
            self._completed |= 1 << (offset - self._watermark)


def _decode(metadata: str) -> int:
    """Metadata of another format, or none, only means that more is repeated."""
    if not metadata.startswith(_FORMAT):
        return 0
    try:
        return int.from_bytes(base64.b64decode(metadata.removeprefix(_FORMAT), validate=True), "little")
    except (binascii.Error, ValueError):
        return 0
