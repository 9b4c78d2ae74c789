"""`python -m worker` is `kgw worker`."""

from worker.app import main

main()
