"""The models of torchvision, timm and transformers by name, or by a configuration: never with weights."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torchcost.errors import ConfigurationError
from torchcost.words import close_match, told

__all__ = ["LIBRARIES", "causal", "configuration", "library", "without_advice"]


def _torchvision(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    models = library("torchvision.models")
    _refuse_weights(kwargs, "weights", "weights_backbone")
    if name not in models.list_models():
        raise ConfigurationError(_unknown("torchvision", name, models.list_models()))
    builder = models.get_model_builder(name)
    taken = inspect.signature(builder).parameters
    unweighted = {weights: None for weights in ("weights", "weights_backbone") if weights in taken}
    return partial(builder, **unweighted, **kwargs)


def _timm(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    timm = library("timm")
    _refuse_weights(kwargs, "pretrained", "checkpoint_path")
    if not timm.is_model(name.partition(".")[0]):
        raise ConfigurationError(_unknown("timm", name, timm.list_models()))
    return partial(timm.create_model, name, pretrained=False, **kwargs)


def _transformers(name: str, kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    """The class that the configuration's `architectures` names, else AutoModel's choice."""
    transformers = library("transformers")
    config = configuration(name, kwargs)
    architectures = getattr(config, "architectures", None) or ["AutoModel"]
    kind = getattr(transformers, architectures[0], transformers.AutoModel)
    if kind is transformers.AutoModel:
        return partial(kind.from_config, config, trust_remote_code=False)
    return partial(kind._from_config, config)


def causal(config: Any, **options: Any) -> Callable[[], Any]:
    """What makes the causal language model of a configuration; raises ConfigurationError where there is none."""
    kind = library("transformers").AutoModelForCausalLM
    if type(config) not in kind._model_mapping:
        raise ConfigurationError(
            f"{type(config).__name__} makes no causal language model. Give the configuration of one, as LlamaConfig."
        )
    return partial(kind.from_config, config, trust_remote_code=False, **options)


LIBRARIES: Mapping[str, Callable[[str, Mapping[str, Any]], Callable[[], Any]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _transformers,
}


def configuration(name: str, kwargs: Mapping[str, Any]) -> Any:
    """The configuration of transformers that a directory holds, or a class by its name, with `kwargs` in it."""
    transformers = library("transformers")
    kind = getattr(transformers, name, None)
    try:
        if Path(name, "config.json").is_file():
            read = transformers.AutoConfig.from_pretrained
            return read(name, local_files_only=True, trust_remote_code=False, **kwargs)
        if isinstance(kind, type) and issubclass(kind, transformers.PretrainedConfig):
            return kind(**kwargs)
    except Exception as error:  # transformers raises many kinds for a configuration it cannot take
        why = without_advice(error, told(error))
        raise ConfigurationError(f"cannot configure 'hf:{name}': {why}. Its own code is never run.") from error
    configurations = [known for known in dir(transformers) if known.endswith("Config")]
    raise ConfigurationError(
        f"'hf:{name}' is neither a directory with a config.json nor a configuration class of transformers."
        f"{close_match(name, configurations)} Nothing is downloaded: save the model's config.json and type hf:DIR, "
        "or type hf:BertConfig."
    )


def without_advice(error: BaseException, said: str) -> str:
    """What is said of an error, but for the advice of transformers to run code that was downloaded."""
    return "it asks for code that comes with it" if "trust_remote_code" in str(error) else said


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"cannot import {name}: {told(error)}. Type: pip install 'torchcost[zoo]'") from error


def _refuse_weights(kwargs: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if kwargs.get(name):
            raise ConfigurationError(f"No weights are loaded, a count does not need them: leave '{name}' out.")


def _unknown(library: str, name: str, known: Iterable[str]) -> str:
    listing = f'python -c "import {library}; print({_LISTINGS[library]})"'
    return f"{library} has no model '{name}'.{close_match(name, known) or f' List them: {listing}'}"


_LISTINGS = {"torchvision": "torchvision.models.list_models()", "timm": "timm.list_models()"}
