"""Messages of the Python interface in the words of the command line: the cure is what to type."""

from __future__ import annotations

from functools import reduce

__all__ = ["typed"]


def typed(message: str) -> str:
    """A message, its cure as it is typed."""
    return reduce(lambda text, words: text.replace(*words), _WORDS, message)


_WORDS = (
    (" (in Python update=True)", ""),
    ("Check input_size or input_data against its forward", "Change them with --input or --inputs"),
    ("Build the model with weights and count it with execution='real'", "Type --execution auto"),
    ("execution='fake' or 'auto'", "--execution auto"),
    ("execution='real'", "--execution real"),
    ("without strict=True", "without --strict"),
    ("On device='meta'", "With --device meta"),
    (", or pass backward=lambda output: loss", ", or leave --backward out"),
    ("pass backward=lambda output: loss", "leave --backward out"),
    ("Write backward=lambda output: criterion(output, target)", "Leave --backward out"),
    (", or what makes one: optimizer=lambda params: torch.optim.SGD(params, lr=0.1)", ""),
    ("Make one: torchcost.language.language_model(config)", "Type hf:DIR, hf:LlamaConfig"),
    ("Write one of adadelta", "Type one of adadelta"),
    ("Save one with report.save(path)", "Write one: torchcost summary MODEL -o report.json"),
    ("Save it again with report.save(path)", "Write it again: torchcost summary MODEL -o report.json"),
)
