"""Fits recover the parameters of synthetic claims."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from possam_core.evaluation.fitting import fit_logistic, fit_logit_map, fit_temperature
from possam_core.labels.calibration import LogitMap

NUM = 20_000


def test_the_temperature_of_overconfident_classes_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (NUM, 5))
    honest = softmax(logits, axis=-1)
    true_index = np.array([rng.choice(5, p=p) for p in honest])
    assert fit_temperature(softmax(3 * logits, axis=-1), true_index) == pytest.approx(3, rel=0.05)
    assert fit_temperature(honest, true_index) == pytest.approx(1, rel=0.05)


def test_a_right_class_of_probability_zero_gives_a_finite_temperature() -> None:
    probs = np.array([[1.0, 0.0], [0.9, 0.1], [0.2, 0.8]], np.float32)
    assert 1 < fit_temperature(probs, np.array([1, 0, 1])) < 55


def test_the_map_of_distorted_claims_is_found() -> None:
    rng = np.random.default_rng(1)
    claims = rng.uniform(0.02, 0.98, NUM)
    truth = LogitMap(scale=1.5, shift=-0.7)
    found = expit(truth.scale * np.log(claims / (1 - claims)) + truth.shift)
    fitted = fit_logit_map(claims, found)
    assert (fitted.scale, fitted.shift) == pytest.approx((1.5, -0.7), abs=0.01)
    outcomes = (rng.random(NUM) < found).astype(np.float64)
    noisy = fit_logit_map(claims, outcomes)
    assert (noisy.scale, noisy.shift) == pytest.approx((1.5, -0.7), abs=0.1)


def test_without_examples_nothing_is_changed() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1.0
    assert fit_logit_map(np.zeros(0), np.zeros(0)) == LogitMap()


def test_few_examples_change_little() -> None:
    fitted = fit_logit_map(np.array([0.9]), np.array([0.0]))
    assert -1 < fitted.shift < 0
    assert 0.2 < fitted.scale < 1


def test_weights_of_an_expected_quality_are_found_and_never_negative() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(0, 1, (NUM, 3))
    found = expit(0.3 + features @ [1.2, 0.5, -0.8])
    intercept, first, second, third = fit_logistic(features, found).tolist()
    assert (first, second) == pytest.approx((1.2, 0.5), abs=0.25)
    assert third == 0.0
    assert intercept == pytest.approx(0.3, abs=0.1)
