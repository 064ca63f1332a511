"""`espgen` and `python -m espgen`."""

import sys

from espgen.errors import INTERRUPTED
from espgen.interrupts import leave_at_once


def run() -> None:
    """The command line, and exit; Ctrl-C is clean from here on, while the rest is imported too."""
    try:
        leave_at_once()
        from espgen.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
