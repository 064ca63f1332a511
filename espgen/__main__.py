"""`python -m espgen`."""

from espgen.cli import main

main()
