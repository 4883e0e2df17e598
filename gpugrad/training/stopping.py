"""Ctrl-C and SIGTERM, where something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """A signal to stop, which waits until it is obeyed.

    Attributes
    ----------
    by : int or None
        The number of the signal that came.

    Examples
    --------
    >>> import signal
    >>> from gpugrad.training.stopping import Stop
    >>> stop = Stop()
    >>> with stop.held():
    ...     signal.raise_signal(signal.SIGTERM)
    ...     print("done to its end")
    done to its end
    >>> stop.obey()
    Traceback (most recent call last):
    SystemExit: 143
    """

    def __init__(self) -> None:
        self.by: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note Ctrl-C and SIGTERM inside; a second one does not wait.

        SIGTERM stays the program's if it handles it, and both do in other threads than the main
        one, which alone handles signals.
        """
        self.by = None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def note(number: int, frame: Any) -> None:
            self.by = number
            restore()

        before[signal.SIGINT] = signal.signal(signal.SIGINT, note)
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            restore()

    def obey(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, SystemExit after SIGTERM, and else nothing."""
        if self.by is not None:
            raise KeyboardInterrupt if self.by == signal.SIGINT else SystemExit(128 + self.by)
