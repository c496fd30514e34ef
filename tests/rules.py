"""The table of all rules and optimizers that drives the tests of the engines and of `update`."""

from reference_impl.optimization.adam import Adam, adam
from reference_impl.optimization.momentum import Momentum, momentum, momentum_lr_inside
from reference_impl.optimization.sgd import SGD, sgd

RULES = {
    sgd: {"lr": 0.1},
    momentum: {"lr": 0.1, "rho": 0.9},
    momentum_lr_inside: {"lr": 0.1, "rho": 0.9},
    adam: {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "t": 3},
}

OPTIMIZERS = {
    "SGD": lambda: SGD(lr=0.05),
    "Momentum": lambda: Momentum(lr=0.05, rho=0.9),
    "Momentum, lr inside": lambda: Momentum(lr=0.05, rho=0.9, lr_inside=True),
    "Momentum, schedules": lambda: Momentum(lr=lambda step: 0.1 / (1 + step), rho=lambda step: min(0.9, 0.5 + step / 10)),
    "Adam": lambda: Adam(lr=0.05),
}
