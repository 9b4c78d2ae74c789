"""`python -m console` is `kgw console`."""

from console.app import main

main()
