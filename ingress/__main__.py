"""`python -m ingress` is `kgw ingress`."""

from ingress.app import main

main()
