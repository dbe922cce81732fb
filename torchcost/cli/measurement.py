"""Measures what a request names: builds the model, makes its inputs, counts it on fakes or, if it must be, for real."""

from __future__ import annotations

import gc
import inspect
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from torchcost.api import count, training_step
from torchcost.cli import language
from torchcost.cli.guesses import guess, likely_input
from torchcost.cli.inputs import InputSpec, arguments, called, parse
from torchcost.cli.request import Request
from torchcost.cli.wording import typed
from torchcost.errors import ConfigurationError, FakeExecutionError, MeasurementError, ModelError, TorchCostError
from torchcost.handlers.call import tensors_in
from torchcost.report import Report
from torchcost.specs import Source, build, locate
from torchcost.trace.fakes.leftovers import live_fakes
from torchcost.trace.inputs import Arguments
from torchcost.trace.training import maker_of
from torchcost.words import close_match, one_line, told, told_at

__all__ = ["Prepared", "explained", "measure", "prepare", "prepare_real"]

Tell = Callable[[str], None]


def measure(request: Request, tell: Tell) -> Report:
    """The report of the requested run; `tell` hears what was assumed and what had to be done otherwise.

    A model is built on the meta device and run on fakes, which needs no memory. One that needs real data is built again
    on the CPU and run for real; the counts are the same.
    """
    prepared = prepare(request, tell)
    source, model, inputs = prepared.source, prepared.model, prepared.inputs
    if request.execution != "auto":
        return _counted(model, inputs, request, request.execution)
    others = live_fakes()
    outcome = _on_fakes(model, inputs, request)
    if isinstance(outcome, Report):
        return outcome
    _check_real_run(source, model, inputs, outcome, others)
    real = prepare_real(request, prepared)
    report = _counted(real.model, real.inputs, request, "real")
    where = _device(real.model, fake=False)
    tell(f"'{source.name}' needs real data ({outcome.reason}); it was run for real on {where}.")
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A requested model and its inputs."""

    source: Source
    model: nn.Module
    inputs: Arguments


def prepare(request: Request, tell: Tell) -> Prepared:
    """The model as it is built for a run on fakes, or for a real one if that is asked for."""
    _check(request)
    source = locate(request.model, kwargs=request.kwargs, app_dir=request.app_dir)
    source = language.causal_source(source, request) if request.reads_text else source
    model = _cast(build(source, device=_build_device(request), tell=tell), request)
    inputs = _inputs(request, source, model, tell, fake=request.execution != "real")
    if not request.has_cache:
        _check_call(model, inputs)
    return Prepared(source=source, model=model, inputs=inputs)


def prepare_real(request: Request, prepared: Prepared) -> Prepared:
    """The same model and inputs with data."""
    model = _real(prepared.source, prepared.model, request)
    inputs = _inputs(request, prepared.source, model, lambda note: None, fake=False)
    return replace(prepared, model=model, inputs=inputs)


def _check(request: Request) -> None:
    if request.inputs and request.inputs_from:
        raise ConfigurationError("Both --input and --inputs are given. Leave one out.")
    _check_text(request)
    maker_of(request.optimizer)
    if request.execution == "real" and request.device == "meta":
        raise ConfigurationError("A model on meta has no data to run on. Leave --execution real or --device meta out.")
    try:
        torch.device("cpu" if request.device == "auto" else request.device)
    except RuntimeError as error:
        raise ConfigurationError(f"--device '{request.device}' is no device. Type auto, meta, cpu, cuda.") from error


def _check_text(request: Request) -> None:
    """Raises ConfigurationError for options of language models that do not go together, or with the others."""
    asked = {f"--{name}": getattr(request, name) for name in ("tokens", "prefill", "decode")}
    typed_so = [option for option, tokens in asked.items() if tokens is not None]
    others = {
        "--input": bool(request.inputs or request.inputs_from),
        "--train": request.train and request.has_cache,
        "--backward": request.backward and request.has_cache,
        "--mode train": request.mode == "train" and request.has_cache,
        "--measure": request.measure and request.has_cache,
    }
    clash = [*typed_so[1:], *(option for option, given in others.items() if given and typed_so)]
    if clash:
        raise ConfigurationError(f"Both {typed_so[0]} and {clash[0]} are given. Leave one out.")
    if request.cache is not None and not request.has_cache:
        raise ConfigurationError("--cache is of a step with a cache. Type --prefill 4096 or --decode 4096 too.")
    if request.batch != 1 and not typed_so:
        raise ConfigurationError("--batch is of texts. Type --tokens 4096 too, or the batch with --input.")


def _build_device(request: Request) -> str:
    return "cpu" if request.device == "auto" and request.execution == "real" else request.device


def _real(source: Source, model: nn.Module, request: Request) -> nn.Module:
    """The model with data: itself, or built again where it has none."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        model = build(source, device="cpu" if request.device in ("auto", "meta") else request.device)
        return _cast(model, request)
    return model


def _cast(model: nn.Module, request: Request) -> nn.Module:
    return model.to(getattr(torch, request.dtype)) if request.dtype else model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why a run on fakes did not do: in a few words, and as the error that is raised where a real run is no way out."""

    reason: str
    error: MeasurementError


def _on_fakes(model: nn.Module, inputs: Arguments, request: Request) -> Report | _Refusal:
    """The report of a run on fakes, or what stood against it, without the traceback that keeps its tensors alive."""
    try:
        return _counted(model, inputs, request, "fake")
    except FakeExecutionError as error:
        reason = str(error).partition(" needs real data")[0].partition(". ")[0]
        return _Refusal(reason=reason, error=FakeExecutionError(str(error)))
    except ModelError as error:
        return _Refusal(reason=one_line(told(error.__cause__ or error), 80), error=ModelError(str(error)))


def _counted(model: nn.Module, inputs: Arguments, request: Request, execution: Any) -> Report:
    with explained(model, inputs, request):
        if request.has_cache:
            return language.report(model, request, execution)
        return (_trained if request.train else _called)(model, inputs, request, execution)


@contextmanager
def explained(model: nn.Module, inputs: Arguments, request: Request) -> Iterator[None]:
    """An error out of the block says what to type; the model's own becomes ModelError."""
    try:
        yield
    except TorchCostError as error:
        message = typed(str(error))
        raise type(error)(message.replace("--backward", "--train") if request.train else message) from error
    except SystemExit as error:
        raise ModelError(f"forward() ended the program: {told_at(error)}. A model must return its output.") from error
    except Exception as error:  # the model's own exception
        raise ModelError(_failure(error, model, inputs, request)) from error


def _called(model: nn.Module, inputs: Arguments, request: Request, execution: Any) -> Report:
    return count(
        model,
        inputs.args,
        inputs.kwargs,
        mode=request.mode,  # type: ignore[arg-type]  # the option offers these two
        backward=request.backward,
        execution=execution,
        strict=request.strict,
        timing=request.measure,
        memory=request.memory,
        workspaces=request.workspaces,
    )


def _trained(model: nn.Module, inputs: Arguments, request: Request, execution: Any) -> Report:
    return training_step(
        model,
        inputs.args,
        inputs.kwargs,
        optimizer=request.optimizer,
        precision=request.precision,  # type: ignore[arg-type]  # the option offers these two
        accumulate=request.accumulate,
        keep_output=request.keep_output,
        workspaces=request.workspaces,
        execution=execution,
        strict=request.strict,
    )


def _failure(error: Exception, model: nn.Module, inputs: Arguments, request: Request) -> str:
    """Where forward failed and on what: the note that `count` left on the exception, in one line."""
    notes = (note for note in getattr(error, "__notes__", ()) if note.startswith("torchcost: "))
    unknown = (
        "torchcost: the backward pass failed" if request.backward or request.train else "torchcost: forward failed"
    )
    place = next(notes, unknown).removeprefix("torchcost: ").partition(". Check")[0]
    place = typed(place.replace("forward failed", "forward() failed"))
    given = ", ".join(_shape(tensor) for tensor in tensors_in((inputs.args, tuple(inputs.kwargs.values()))))
    cure = _look_up(place, model, inputs) or "change them with --input or --inputs"
    return f"{place}: {told(error)}. Inputs were {given or 'no tensors'}; {cure}."


def _look_up(place: str, model: nn.Module, inputs: Arguments) -> str:
    """What to type where floats were given for the ids of an embedding."""
    table = next((module for module in model.modules() if isinstance(module, nn.Embedding)), None)
    floats = [tensor for tensor in inputs.tensors() if tensor.is_floating_point()]
    if "(Embedding)" not in place or table is None or not floats:
        return ""
    ids = InputSpec(dtype="int64", shape=tuple(floats[0].shape), high=table.num_embeddings - 1)
    return f"it looks up ids, which are integers: --input {ids}"


def _shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}[{','.join(map(str, tensor.shape))}]"


# --- inputs ----------------------------------------------------------------------------------------------------------


def _inputs(request: Request, source: Source, model: nn.Module, tell: Tell, *, fake: bool) -> Arguments:
    """The inputs of a run; those that torchcost makes are on meta where only their shapes are asked for."""
    if request.reads_text:
        return language.inputs(model, request, _device(model, fake=fake), tell)
    if request.inputs_from:
        return _cast_inputs(_as_one(called(request.inputs_from, app_dir=request.app_dir), model), request)
    specs = [parse(text) for text in request.inputs]
    if not specs and _required(model):
        specs = guess(source, model)
        tell(f"no input given, assumed {' '.join(f'--input {_quoted(str(spec))}' for spec in specs)}")
    first = next((p for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()), None)
    default = first.dtype if first is not None else torch.get_default_dtype()
    return _cast_inputs(arguments(specs, default=default, device=_device(model, fake=fake)), request)


def _as_one(given: Arguments, model: nn.Module) -> Arguments:
    """A mapping that names nothing of what forward takes is its one input, as a batch is."""
    parameters = _parameters(model)
    alone = len([p for p in parameters if p.default is p.empty]) == 1
    if not given.kwargs or given.args or not alone or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    return given if {p.name for p in parameters} & given.kwargs.keys() else Arguments(args=(given.kwargs,))


def _cast_inputs(given: Arguments, request: Request) -> Arguments:
    if request.dtype is None:
        return given
    dtype = getattr(torch, request.dtype)
    return given.copied(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def _quoted(text: str) -> str:
    return f"'{text}'" if "[" in text else text


def _device(model: nn.Module, *, fake: bool) -> torch.device:
    """Where a model's inputs belong; in a run on fakes they are shapes, which take no memory on meta."""
    first = next((tensor for tensor in (*model.parameters(), *model.buffers()) if not tensor.is_meta), None)
    place = first.device if first is not None else torch.device("cpu")
    return torch.device("meta") if fake and place.type == "cpu" else place


def _required(model: nn.Module) -> list[inspect.Parameter]:
    """The parameters of forward that must be given."""
    return [p for p in _parameters(model) if p.default is p.empty]


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (ValueError, TypeError):  # a scripted or compiled forward may show no signature
        return []


def _check_call(model: nn.Module, inputs: Arguments) -> None:
    """Raises where forward cannot take these inputs, with the option to type."""
    parameters = _parameters(model)
    if not parameters:
        return
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in inputs.kwargs:
            if name not in named:
                hint = close_match(name, named) or f" It takes: {', '.join(named)}."
                raise ConfigurationError(f"forward() takes no '{name}'.{hint}")
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(inputs.args) > len(positional) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ConfigurationError(_surplus(model, inputs, positional, [n for n in named if n not in positional]))
    given = {*positional[: len(inputs.args)], *inputs.kwargs}
    missing = [p.name for p in parameters if p.name in named and p.default is p.empty and p.name not in given]
    if missing:
        raise ConfigurationError(
            f"forward() missing {' and '.join(map(repr, missing))}. "
            f"Pass {' '.join(f'--input {likely_input(model, name)}' for name in missing)} or --inputs mod:fn."
        )


def _surplus(model: nn.Module, inputs: Arguments, positional: list[str], only_named: list[str]) -> str:
    """More inputs by position than forward takes so: perhaps it takes them by name."""
    free = [name for name in only_named if name not in inputs.kwargs]
    if not free:
        return f"forward() takes ({', '.join(positional)}), not {len(inputs.args)} inputs. Leave an --input out."
    surplus = [spec for value in inputs.args[len(positional) :] if (spec := _typed_as(value))]
    given = [str(replace(spec, name=name)) for name, spec in zip(free, surplus, strict=False)]
    others = [str(likely_input(model, name)) for name in free[len(given) :]]
    typed_so = " ".join(f"--input {text}" for text in (*given, *others))
    return f"forward() takes {', '.join(only_named)} by name only. Name them: {typed_so}"


def _typed_as(value: Any) -> InputSpec | None:
    """A generated input as it may be typed; None for what is no tensor."""
    if not isinstance(value, torch.Tensor):
        return None
    dtype = None if value.is_floating_point() else str(value.dtype).removeprefix("torch.")
    return InputSpec(dtype=dtype, shape=tuple(value.shape))


# --- running for real ------------------------------------------------------------------------------------------------


def _check_real_run(source: Source, model: nn.Module, inputs: Arguments, refusal: _Refusal, others: set[int]) -> None:
    """Raises where a real run would not fit into memory, or would meet what the run on fakes left behind."""
    tensors = (*model.parameters(), *model.buffers(), *inputs.tensors())
    needed = sum(tensor.nbytes for tensor in tensors if tensor.is_meta)
    if needed > _memory():
        if isinstance(refusal.error, ModelError):
            raise refusal.error
        raise FakeExecutionError(
            f"'{source.name}' needs real data ({refusal.reason}), and its weights and inputs of {needed:,} B do not "
            "fit into this machine's memory. Type --model-kwargs or --input for smaller ones."
        )
    gc.collect()
    if live_fakes() - others:
        raise FakeExecutionError(
            f"'{source.name}' keeps tensors of a run in a cache of its own, so it cannot be run on fakes and then for "
            "real. Type --execution real"
        )


def _memory() -> float:
    """Bytes of this machine's memory; infinite where the system does not tell."""
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ())):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
