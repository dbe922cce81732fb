"""`python -m torchcost`: the command line."""

from torchcost.cli import main

main()
