"""Causal language models of transformers, with or without weights: prefill, decoding with a cache, a training step.

    model = language_model("directory/with/config.json", dtype=torch.bfloat16)
    prefill(model, 4096).memory.at_peak, decode(model, 4096).flops
    print(kv_cache(model, 4096))

Each runs on fakes, which compute nothing, unless it is told to be real. A cache is the library's own, which the model
makes.
"""

from torchcost.language.cache import KVCache, MakeCache
from torchcost.language.model import language_model
from torchcost.language.prompt import Step, text
from torchcost.language.steps import decode, kv_cache, largest_batch, prefill, train

__all__ = [
    "KVCache",
    "MakeCache",
    "Step",
    "decode",
    "kv_cache",
    "language_model",
    "largest_batch",
    "prefill",
    "text",
    "train",
]
