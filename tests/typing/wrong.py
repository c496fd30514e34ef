"""Mistakes as users make them, one a function: behind its line stands what mypy and what Pyright says of it, and called it is refused."""

from __future__ import annotations

import numpy as np

from reference_impl import (
    SGD,
    Adam,
    Affine,
    BatchNorm,
    Dropout,
    EarlyStopping,
    Evaluate,
    Groups,
    ReLU,
    Sequential,
    bfgs,
    constant,
    cosine,
    evaluate,
    fit,
    flatten,
    lbfgs,
    minimize,
    newton,
    rosenbrock,
    search,
    set_engine,
    set_threads,
    warmup,
)

RNG = np.random.default_rng(0)
MODEL = Sequential(Affine(2, 3, rng=RNG))
X, Y = np.ones((4, 2)), np.array([0, 1, 2, 0])


def bowl(w: np.ndarray) -> float:
    return float(w @ w)


def slope(w: np.ndarray) -> np.ndarray:
    return 2 * w


def an_engine_that_there_is_not() -> None:
    Adam(engine="fast")  # mypy: arg-type, pyright: reportArgumentType


def an_engine_for_all_that_there_is_not() -> None:
    set_engine("numba")  # mypy: arg-type, pyright: reportArgumentType


def a_list_of_numbers_as_a_parameter() -> None:
    Adam().update({"w": [1.0, 2.0]}, {"w": np.ones(2)})  # mypy: dict-item, pyright: reportArgumentType


def parameters_without_names() -> None:
    Adam().update([np.ones(2)], [np.ones(2)])  # mypy: arg-type, arg-type, pyright: reportArgumentType, reportArgumentType


def a_number_as_a_gradient() -> None:
    Adam().update({"w": np.ones(2)}, {"w": 1.0})  # mypy: dict-item, pyright: reportArgumentType


def a_schedule_without_a_step() -> None:
    SGD(lr=lambda: 0.1).hyperparameters()  # mypy: arg-type, misc, pyright: reportArgumentType


def a_schedule_that_gives_words() -> None:
    SGD(lr=lambda step: "small").hyperparameters()  # mypy: arg-type, return-value, pyright: reportArgumentType


def a_rate_in_words() -> None:
    SGD(lr="0.1")  # mypy: arg-type, pyright: reportArgumentType


def a_hyperparameter_that_there_is_not() -> None:
    Adam(learning_rate=0.1)  # mypy: call-arg, pyright: reportCallIssue


def a_class_in_a_group() -> None:
    Groups({"*": SGD})  # mypy: dict-item, pyright: reportArgumentType


def no_gradient() -> None:
    minimize(bowl, [1.0, 2.0], SGD(lr=0.1), steps=3)  # mypy: call-overload, pyright: reportArgumentType


def no_optimizer_object() -> None:
    minimize(rosenbrock(), [1.0, 2.0], SGD, steps=3)  # mypy: call-overload, pyright: reportArgumentType


def a_method_that_there_is_not() -> None:
    newton(rosenbrock(), [1.0, 2.0], rosenbrock().grad, rosenbrock().hess, method="quick")  # mypy: arg-type, pyright: reportArgumentType


def false_for_a_gradient() -> None:
    lbfgs(bowl, [1.0, 2.0], False)  # mypy: arg-type, pyright: reportArgumentType


def a_start_that_is_a_word() -> None:
    bfgs(bowl, None, slope)  # mypy: arg-type, pyright: reportArgumentType


def a_field_that_a_result_has_not() -> None:
    print(bfgs(bowl, [1.0, 2.0], slope).minimum)  # mypy: attr-defined, pyright: reportAttributeAccessIssue


def a_class_in_place_of_an_optimizer() -> None:
    fit(MODEL, X, Y, Adam, epochs=1, rng=RNG)  # mypy: arg-type, pyright: reportArgumentType


def no_generator() -> None:
    fit(MODEL, X, Y, Adam(), epochs=1)  # mypy: call-arg, pyright: reportCallIssue


def a_seed_for_a_generator() -> None:
    fit(MODEL, X, Y, Adam(), epochs=1, rng=0)  # mypy: arg-type, pyright: reportArgumentType


def half_an_epoch() -> None:
    fit(MODEL, X, Y, Adam(), epochs=0.5, rng=RNG)  # mypy: arg-type, pyright: reportArgumentType


def a_callback_that_is_a_function() -> None:
    fit(MODEL, X, Y, Adam(), epochs=1, rng=RNG, callbacks=[print])  # mypy: list-item, pyright: reportArgumentType


def one_callback_without_a_list() -> None:
    fit(MODEL, X, Y, Adam(), epochs=1, rng=RNG, callbacks=EarlyStopping("loss", patience=1))  # mypy: arg-type, pyright: reportArgumentType


def examples_without_a_name() -> None:
    Evaluate((X, Y))  # mypy: arg-type, pyright: reportArgumentType


def inputs_in_a_list() -> None:
    evaluate(MODEL, [[1.0, 2.0]], np.array([0]))  # mypy: arg-type, pyright: reportArgumentType


def a_loss_that_gives_no_gradient() -> None:
    fit(MODEL, X, Y, Adam(), epochs=1, rng=RNG, loss=lambda outputs, targets: 0.0)  # mypy: arg-type, return-value, pyright: reportArgumentType


def no_patience() -> None:
    EarlyStopping("loss")  # mypy: call-arg, pyright: reportCallIssue


def a_layer_with_a_seed() -> None:
    Affine(2, 3, rng=0)  # mypy: arg-type, pyright: reportArgumentType


def a_layer_that_is_a_class() -> None:
    Sequential(Affine(2, 3, rng=RNG), ReLU)  # mypy: arg-type, pyright: reportArgumentType


def a_share_in_words() -> None:
    Dropout("half")  # mypy: arg-type, pyright: reportArgumentType


def a_size_in_words() -> None:
    BatchNorm("ten")  # mypy: arg-type, pyright: reportArgumentType


def a_list_made_flat() -> None:
    flatten([np.ones(2)])  # mypy: arg-type, pyright: reportArgumentType


def steps_in_words() -> None:
    warmup("ten", then=0.1)  # mypy: arg-type, pyright: reportArgumentType


def a_schedule_of_a_schedule() -> None:
    constant(cosine(0.1, 10))  # mypy: arg-type, pyright: reportArgumentType


def a_number_of_trials_for_settings() -> None:
    search(lambda setting, rng: 0.0, 10)  # mypy: arg-type, pyright: reportArgumentType


def threads_in_words() -> None:
    set_threads("all")  # mypy: arg-type, pyright: reportArgumentType


def a_name_with_a_slip() -> None:
    from reference_impl import Adamm  # mypy: attr-defined, pyright: reportAttributeAccessIssue

    print(Adamm)
