"""`espgen` and `python -m espgen`."""

import os
import signal
import sys

from espgen.errors import INTERRUPTED


def _leave(_number: int, _frame: object) -> None:
    """Nothing has begun yet that would have to be tidied up."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def run() -> None:
    """The command line, and exit; Ctrl-C is clean from here on, while the rest is imported too."""
    try:
        signal.signal(signal.SIGINT, _leave)
        from espgen.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
