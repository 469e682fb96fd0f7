"""Fits of the calibration: temperature, logit maps, and the expected quality of an image.

Each fit minimises the cross-entropy with the outcomes, plus half the squared distance of its
parameters from those that change nothing, which weighs as much as one example: with few examples
little is changed, with none nothing.

Axes: N examples, K classes, F features.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float64, Int
from numpy import ndarray
from scipy.optimize import minimize
from scipy.special import log_softmax, logit

from possam_core.labels.calibration import LEAST_PROB, LogitMap

EDGE = 1e-6  # claims are clipped to at least this, and at most 1 minus it
MAX_LOG = 4.0  # natural logarithm of the largest temperature or scale; of the smallest, minus it


def fit_temperature(probs: Float[ndarray, "N K"], true_index: Int[ndarray, " N"]) -> float:
    """The temperature that gives the true classes the highest likelihood.

    Args:
        probs: of the classes, each row summing to 1.
        true_index: of the class that is right.
    """
    logits = np.log(np.maximum(probs.astype(np.float64), LEAST_PROB))
    rows = np.arange(len(logits))

    def loss(parameters: Float64[ndarray, " 1"]) -> float:
        log_probs = log_softmax(logits / np.exp(parameters[0]), axis=-1)
        return float(-log_probs[rows, true_index].sum() + parameters[0] ** 2 / 2)

    return float(np.exp(_minimise(loss, [0.0], [(-MAX_LOG, MAX_LOG)])[0]))


def fit_logit_map(claims: Float[ndarray, " N"], found: Float[ndarray, " N"]) -> LogitMap:
    """The increasing map from claims to outcomes; both in [0, 1]."""
    logits = logit(np.clip(claims.astype(np.float64), EDGE, 1 - EDGE))

    def loss(parameters: Float64[ndarray, " 2"]) -> float:
        mapped = np.exp(parameters[0]) * logits + parameters[1]
        return _cross_entropy(mapped, found) + float(parameters @ parameters) / 2

    bounds = [(-MAX_LOG, MAX_LOG), (None, None)]
    log_scale, shift = _minimise(loss, [0.0, 0.0], bounds).tolist()
    return LogitMap(scale=float(np.exp(log_scale)), shift=shift)


def fit_logistic(
    features: Float[ndarray, "N F"], found: Float[ndarray, " N"]
) -> Float64[ndarray, " F1"]:
    """Intercept and weights, none of them negative, of found = sigmoid(intercept + weights * x)."""
    inputs = np.column_stack([np.ones(len(features)), features.astype(np.float64)])

    def loss(parameters: Float64[ndarray, " F1"]) -> float:
        return _cross_entropy(inputs @ parameters, found) + float(parameters @ parameters) / 2

    num_weights = features.shape[1]
    bounds = [(None, None), *[(0.0, None)] * num_weights]
    return _minimise(loss, [0.0] * (num_weights + 1), bounds)


def _cross_entropy(logits: Float64[ndarray, " N"], found: Float[ndarray, " N"]) -> float:
    return float((np.logaddexp(0, logits) - found * logits).sum())


def _minimise(
    loss: Callable[..., float],
    start: Sequence[float],
    bounds: Sequence[tuple[float | None, float | None]],
) -> Float64[ndarray, " P"]:
    found: Float64[ndarray, " P"] = minimize(loss, start, bounds=bounds, method="L-BFGS-B").x
    return found
