"""Where the command ``gpugrad`` begins: outside of the package, whose import takes a moment."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Import the library, which a Ctrl-C ends without a word, and run the command line.

    Nothing has been begun then, and a traceback through half an import tells nobody anything.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not where Ctrl-C is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gpugrad.cli import main as command

    signal.signal(signal.SIGINT, usual)
    return command()


if __name__ == "__main__":
    sys.exit(main())
