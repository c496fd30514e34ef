"""One optimizer's share of a step: the arrays and numbers that have been checked, and what is done with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import arrays, engines
from ..arrays.protocol import StandardArray
from ..engines.tape import Rule, is_elementwise, trace
from .clipping import clipped
from .packing import Pack, Packing

if TYPE_CHECKING:
    from .optimizer import Optimizer

# A correction divides what the state holds of a square, and may round it up: so much room is left for that.
NEAR = 1.0 + 2**-10


@dataclass(slots=True)
class Share:
    """What an optimizer is to do with some parameters, and what it will keep of it; nothing is changed before `step`."""

    optimizer: Optimizer
    rule: Rule
    values: dict[str, float]
    packing: Packing
    params: Mapping[str, StandardArray]
    grads: Mapping[str, StandardArray]

    pieces: list[list[list[StandardArray]]] = field(init=False)
    norm: float = math.nan  # of all gradients together, if it is known

    def pack(self) -> None:
        """Gather for each pack what the rule takes: one or more [w, g, *state]."""
        self.pieces = [pack.pack(self.params, self.grads) for pack in self.packing.packs]

    def clip(self, factors: tuple[float, float], limit: float) -> None:
        """Let the rule see the gradients scaled by two factors, and then cut at a limit."""
        if factors != (1.0, 1.0) or limit != math.inf:
            self.rule = clipped(self.rule)
            self.values |= {"clip_factor": factors[0], "clip_other": factors[1], "clip_limit": limit}

    def check_numbers(self) -> None:
        """Refuse gradients that are not finite, and those whose squares leave the dtype and would spoil the step: ValueError.

        A square that comes near the end of the range is met by a trial on copies. So near that, whatever the state holds by now, a
        smaller one could not take it over.
        """
        if not self.optimizer.check_finite:
            return
        engine, eps = self.optimizer.engine, self.values.get("eps", math.inf)
        for pack, pieces in zip(self.packing.packs, self.pieces):
            safe = pack.safe
            if not self.norm <= safe.high and not engines.within([piece[1] for piece in pieces], safe.high, engine):
                self.check_finite()
                self._check_state(pack, _joined(pieces))
            if eps < safe.eps:
                self._check_small(pack, _joined(pieces))

    def check_scalars(self) -> None:
        """Refuse hyperparameters of which the rule makes no numbers in the coming step of a pack: ValueError."""
        if is_elementwise(self.rule):
            for t in {pack.t for pack in self.packing.packs}:
                trace(self.rule).values({**self.values, "t": t + 1})

    def check_finite(self) -> None:
        """Refuse gradients that are not finite: ValueError."""
        for key, g in self.grads.items():
            if not engines.finite([g], self.optimizer.engine):
                raise ValueError(f"grads[{key!r}] must be finite, got {arrays.not_finite(g)}")

    def _check_state(self, pack: Pack, vectors: list[StandardArray]) -> None:
        """Refuse gradients that would make the state infinite, or come so near that what is made of it is."""
        w, g, *state = vectors
        larger = arrays.functions(g).multiply(g, arrays.full_like(g, NEAR))
        for before, after in zip(state, self._tried(pack, [w, larger, *state])[1:]):
            key, at = pack.first(np.isfinite(_host(before)) & ~np.isfinite(after))
            if key:
                raise ValueError(f"grads[{key!r}] must leave the state of {self.packing.rule} within {pack.computing}, "
                                 f"got {_host(self.grads[key])[at]} at index {at}")

    def _check_small(self, pack: Pack, vectors: list[StandardArray]) -> None:
        """Refuse gradients whose square is lost, where no eps would hide it: state that is the same for g and -g and too small for the dtype."""
        g, tiny = np.abs(_host(vectors[1]).astype(pack.computing)), np.finfo(pack.computing).tiny
        if not g.size or g.min() > pack.safe.low:
            return
        mirrored = [vectors[0], arrays.functions(vectors[1]).negative(vectors[1]), *vectors[2:]]
        w, *state = self._tried(pack, vectors)
        lost = np.isnan(w) & np.isfinite(_host(vectors[0]))
        for one, other in zip(state, self._tried(pack, mirrored)[1:]):
            lost |= (g > 0) & (np.abs(one) < tiny) & (one == other)
        key, at = pack.first(lost)
        if key:
            raise ValueError(f"grads[{key!r}] must have a square that does not vanish in {pack.computing} where eps is "
                             f"{self.values['eps']:g}, got {_host(self.grads[key])[at]} at index {at}")

    def _tried(self, pack: Pack, vectors: list[StandardArray]) -> list[np.ndarray]:
        """The new w and state, of a step on copies."""
        copies = [arrays.copy(vector) for vector in vectors]
        self._apply(pack, [copies])
        return [_host(array) for array in (copies[0], *copies[2:])]

    def _apply(self, pack: Pack, pieces: list[list[StandardArray]]) -> None:
        engines.step_each(self.rule, pieces, {**self.values, "t": pack.t + 1}, self.optimizer.engine)

    def step(self) -> None:
        """Take the step, and let the optimizer keep what it needs for the next."""
        self.optimizer._packing = self.packing
        for pack, pieces in zip(self.packing.packs, self.pieces):
            self._apply(pack, pieces)
            pack.unpack(self.params)
            pack.t += 1


def _joined(pieces: list[list[StandardArray]]) -> list[StandardArray]:
    """One [w, g, *state], copied together if there are more."""
    return pieces[0] if len(pieces) == 1 else [arrays.flat_copy(column) for column in zip(*pieces)]


def _host(array: StandardArray) -> np.ndarray:
    return np.asarray(arrays.on_host(array))
