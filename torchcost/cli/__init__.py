"""The command line: arguments in, text and exit codes out. Importing it does not import torch."""

from torchcost.cli.group import main

__all__ = ["main"]
