"""The highest memory of this process: what it needs itself, and with the file pages that the kernel may drop."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_SECONDS_BETWEEN = 0.002


class PeakMemory:
    """Watches RssAnon from entering to leaving (Linux; elsewhere the peak stays None).

    Anonymous memory is what a process needs: pages of a memory-mapped bank do not count, the kernel may drop them at
    any time.

    Attributes:
        peak: bytes.
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN):
            self._sample()

    def _sample(self) -> None:
        now = status_bytes("RssAnon")
        if now is not None:
            self.peak = max(self.peak or 0, now)


def status_bytes(name: str) -> int | None:
    """Return an entry of this process's status in bytes (``RssAnon``, ``VmHWM`` …); None if unknown."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
