"""Model specs: the model that `torchvision:resnet50`, `package.module:attr` or `file.py:attr` stands for.

    module:attr, file.py:attr    an nn.Module, a class or a function that makes one; the working directory is searched
    torchvision:NAME, timm:NAME  a registered model, without weights
    hf:DIR, hf:CLASS             a transformers model by a local config.json or a configuration class, without weights

Nothing is downloaded and no weights are loaded. Importing this file does not import torch.
"""

from torchcost.specs.form import check_spec
from torchcost.specs.source import Source, build, locate
from torchcost.specs.user_code import load

__all__ = ["Source", "build", "check_spec", "load", "locate"]
