"""`python -m kgw` is `kgw`."""

from kgw.cli import main

main()
