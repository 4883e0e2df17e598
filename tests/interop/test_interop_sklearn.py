"""The estimators pass scikit-learn's own checks, and learn."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.datasets import load_digits, make_friedman1, make_moons  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import PolynomialFeatures  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from gpugrad.interop.sklearn import Classifier, Regressor  # noqa: E402


@parametrize_with_checks([Classifier(), Regressor()])
def test_scikit_learn_s_own_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_the_classifier_learns_moons_and_digits():
    x, y = make_moons(300, noise=0.15, random_state=0)
    assert cross_val_score(Classifier(random_state=0), x, y, cv=3).min() > 0.93
    x, y = load_digits(return_X_y=True)
    x, held, y, truth = train_test_split(x, y, random_state=0)
    model = Classifier((64,), max_iter=20, random_state=0).fit(x, y)
    assert model.score(held, truth) > 0.95
    np.testing.assert_allclose(model.predict_proba(held).sum(1), 1)


def test_the_regressor_learns_one_target_and_two():
    x, y = make_friedman1(400, noise=0.3, random_state=0)
    x, held, y, truth = train_test_split(x, np.stack([y, -3 * y + 100], 1), random_state=0)
    assert Regressor(random_state=0).fit(x, y[:, 0]).score(held, truth[:, 0]) > 0.85
    both = Regressor(activation="silu", random_state=0).fit(x, y)
    assert both.predict(held).shape == truth.shape
    assert both.score(held, truth) > 0.85


def test_the_seed_decides():
    x, y = make_moons(100, random_state=0)
    one, two, other = (Classifier(max_iter=3, random_state=s).fit(x, y) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))
    assert (one.predict_proba(x) != other.predict_proba(x)).any()


def test_labels_may_be_words_and_a_fitted_model_is_pickled():
    x, y = make_moons(60, random_state=0)
    model = Classifier(max_iter=20, random_state=0).fit(x, np.array(["low", "high"])[y])
    again = pickle.loads(pickle.dumps(model))
    assert set(again.predict(x)) == {"low", "high"}
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))


def test_in_a_pipeline_and_a_search():
    x, y = make_moons(80, random_state=0)
    pipeline = make_pipeline(PolynomialFeatures(2), Classifier(max_iter=60, random_state=0))
    search = GridSearchCV(pipeline, {"classifier__hidden": [(4,), (16, 8)]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.8


def test_the_same_network_on_cuda(cuda):
    x, y = make_moons(80, random_state=0)
    here, there = (
        Classifier(max_iter=3, random_state=0, device=d).fit(x, y) for d in ("cpu", "cuda:0")
    )
    np.testing.assert_allclose(there.predict_proba(x), here.predict_proba(x), rtol=1e-6)


def test_an_unknown_activation_is_named():
    x, y = make_moons(20, random_state=0)
    with pytest.raises(ValueError, match="activation='sine' is none of"):
        Classifier(activation="sine").fit(x, y)


ARRAY_API = """
import warnings
from sklearn.utils.estimator_checks import estimator_checks_generator
from gpugrad.interop.sklearn import Classifier, Regressor

warnings.simplefilter("ignore")
ran = 0
for given in (Classifier(), Regressor()):
    for estimator, check in estimator_checks_generator(given):
        if "array_api" in getattr(check, "func", check).__name__:
            check(estimator)
            ran += 1
assert ran
"""


def test_the_check_that_scipy_must_be_told_of_before_it_is_imported():
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ARRAY_API], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": 0}, "batch_size is a whole number from 1 on, got 0"),
        ({"max_iter": 0}, "max_iter is a whole number from 1 on, got 0"),
        ({"patience": 1.5}, r"patience is a whole number from 1 on, got 1\.5"),
        ({"hidden": 5}, "hidden is a sequence of widths, got 5"),
        ({"hidden": (8, 0)}, r"widths of hidden are whole numbers from 1 on, got \(8, 0\)"),
    ],
)
def test_settings_that_make_no_network_are_named(setting, message):
    x, y = make_moons(20, random_state=0)
    with pytest.raises(ValueError, match=f"Classifier: .*{message}"):
        Classifier(**setting).fit(x, y)
