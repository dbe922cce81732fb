"""A linear layer and the likelihood of its classes by one operator that goes through the samples in chunks."""

from __future__ import annotations

from dataclasses import replace

from torchcost.handlers.call import Call
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import most
from torchcost.handlers.traffic import Traffic, every_operand_once, first_output_only
from torchcost.handlers.work import Work, formula

__all__: list[str] = []


@formula
def linear_cross_entropy(
    *,
    samples: int,
    features: int,
    classes: int,
    bias: bool,
    soft: bool,
    each: int,
    input_grad: bool,
    weight_grad: bool,
    bias_grad: bool,
) -> Work:
    """l = log(sum of exp(z[c])) - z[target], z = w x + bias, and at once the gradients that backward will scale.

    z less its maximum, exp and their sum are 4 a logit, less 2 a sample, which has `each` more (its logarithm, weight
    and share of the reduction). Targets that are probabilities (`soft`) are multiplied and summed with z, and summed.
    The softmax is scaled for the gradients; what the target takes away from it is either a probability, scaled (2 a
    logit), or one class: then it goes into dx before the product (1 a feature), into dw and db after it (2 and 1).

    logits = samples * classes
    macs = logits * features * (1 + input_grad + weight_grad)
    begun = (0 if bias else logits) + (samples * features if soft and input_grad else 0)
    adds = macs - begun if macs > begun else 0
    loss = 4 * logits - 2 * samples + each * samples + (3 * logits - samples if soft else 0)
    softmax = logits + samples if input_grad or weight_grad or bias_grad else 0
    one_class = samples * (features * (input_grad + 2 * weight_grad) + bias_grad)
    probabilities = 2 * logits if input_grad or weight_grad or bias_grad else 0
    other_flops = loss + softmax + (probabilities if soft else one_class) + bias_grad * logits
    streamed = samples * features
    """
    logits, wanted = samples * classes, input_grad or weight_grad or bias_grad
    macs = logits * features * (1 + input_grad + weight_grad)
    begun = (0 if bias else logits) + (samples * features if soft and input_grad else 0)
    loss = 4 * logits - 2 * samples + each * samples + (3 * logits - samples if soft else 0)
    softmax = logits + samples if wanted else 0
    one_class = samples * (features * (input_grad + 2 * weight_grad) + bias_grad)
    probabilities = 2 * logits if wanted else 0
    return Work(
        macs=macs,
        adds=most(macs - begun, 0),
        other_flops=loss + softmax + (probabilities if soft else one_class) + bias_grad * logits,
        streamed=samples * features,
    )


SHARE = {"mean": 7, "sum": 6, "none": 3}
"""Operations a sample: logarithm, difference, weight; with a sum their signs and two dot products; a mean's share."""


def _gradients_kept(call: Call) -> Traffic:
    """The gradients are written, and kept for backward: the caller's is the loss alone."""
    return replace(every_operand_once(call), activations=first_output_only(call).activations)


@handles("torch_nn::_linear_cross_entropy_batch_chunked", traffic=_gradients_kept)
def _(call: Call) -> Work:
    return _linear_cross_entropy(
        call,
        each=SHARE[call["reduction"]],
        input_grad=call["compute_input_grad"],
        weight_grad=call["compute_linear_weight_grad"],
        bias_grad=call["compute_linear_bias_grad"],
    )


@handles("torch_nn::_linear_cross_entropy_batch_chunked_no_reduction")
def _(call: Call) -> Work:
    """Its gradients are made in backward, operator by operator."""
    return _linear_cross_entropy(call, each=SHARE["none"], input_grad=False, weight_grad=False, bias_grad=False)


def _linear_cross_entropy(call: Call, *, each: int, input_grad: bool, weight_grad: bool, bias_grad: bool) -> Work:
    classes, features = call["linear_weight"].shape
    soft = call["target"].is_floating_point()
    return linear_cross_entropy(
        samples=call["input"].shape[0],
        features=features,
        classes=classes,
        bias=call["linear_bias"] is not None,
        soft=soft,
        each=4 if soft else each,
        input_grad=input_grad,
        weight_grad=weight_grad,
        bias_grad=bias_grad,
    )
