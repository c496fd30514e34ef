"""The table of all rules and optimizers that drives the tests of the engines and of `update`."""

from reference_impl.optimization.adagrad import AdaGrad, adagrad, adagrad_eps_inside
from reference_impl.optimization.adam import Adam, AdamW, AMSGrad, adam, adam_eps_hat, adamw, amsgrad, amsgrad_corrected_max, yogi
from reference_impl.optimization.momentum import Momentum, momentum, momentum_lr_inside
from reference_impl.optimization.nesterov import Nesterov, nesterov, nesterov_lr_inside
from reference_impl.optimization.rmsprop import RMSProp, rmsprop, rmsprop_eps_inside
from reference_impl.optimization.sgd import SGD, sgd

ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "t": 3}

RULES = {
    sgd: {"lr": 0.1},
    momentum: {"lr": 0.1, "rho": 0.9},
    momentum_lr_inside: {"lr": 0.1, "rho": 0.9},
    nesterov: {"lr": 0.1, "rho": 0.9},
    nesterov_lr_inside: {"lr": 0.1, "rho": 0.9},
    adagrad: {"lr": 0.1, "eps": 1e-10},
    adagrad_eps_inside: {"lr": 0.1, "eps": 1e-7},
    rmsprop: {"lr": 0.1, "decay": 0.99, "eps": 1e-8},
    rmsprop_eps_inside: {"lr": 0.1, "decay": 0.9, "eps": 1e-7},
    adam: ADAM,
    adam_eps_hat: ADAM,
    adamw: ADAM | {"weight_decay": 0.01},
    amsgrad: ADAM,
    amsgrad_corrected_max: ADAM,
    yogi: ADAM,
}

OPTIMIZERS = {
    "SGD": lambda: SGD(lr=0.05),
    "Momentum": lambda: Momentum(lr=0.05, rho=0.9),
    "Momentum, lr inside": lambda: Momentum(lr=0.05, rho=0.9, lr_inside=True),
    "Momentum, schedules": lambda: Momentum(lr=lambda step: 0.1 / (1 + step), rho=lambda step: min(0.9, 0.5 + step / 10)),
    "Nesterov": lambda: Nesterov(lr=0.05, rho=0.9),
    "Nesterov, lr inside": lambda: Nesterov(lr=0.05, rho=0.9, lr_inside=True),
    "AdaGrad": lambda: AdaGrad(lr=0.5),
    "AdaGrad, eps inside, start": lambda: AdaGrad(lr=0.5, eps=1e-7, eps_inside_root=True, initial_accumulator=0.1),
    "RMSProp": lambda: RMSProp(lr=0.05),
    "RMSProp, eps inside": lambda: RMSProp(lr=0.05, decay=0.9, eps=1e-7, eps_inside_root=True),
    "Adam": lambda: Adam(lr=0.05),
    "Adam, eps hat": lambda: Adam(lr=0.05, eps_hat=True),
    "AdamW": lambda: AdamW(lr=0.05, weight_decay=0.1),
    "AMSGrad": lambda: AMSGrad(lr=0.05),
    "AMSGrad, corrected": lambda: AMSGrad(lr=0.05, corrected_max=True),
}
