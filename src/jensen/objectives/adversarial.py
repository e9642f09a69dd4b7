r"""Adversarial losses of two players, a discriminator with logit C(x) and a generator of q.

A loss is three elementwise functions of a logit; with data p and generated rows q the players
minimise

    L_D = E_p real(C) + E_q fake(C),        L_G = E_q generator(C).

For each x the best logit minimises p·real + q·fake, which depends on log p/q alone (`optimum`);
what is left of L_D there is minus a divergence of p and q:

==============  ==================  ===================  ===================  =====================
loss            real(a)             fake(a)              optimum              L_D at the optimum
==============  ==================  ===================  ===================  =====================
`Logistic`      softplus(-a)        λ softplus(a)        log p/q - log λ      -D_λ + c(λ)
`FDivergence`   -g(a)               f*(g(a))             log p/q              -D_f(p‖q)
`LeastSquares`  ½(a - b)²           ½(a - c)²            (b p + c q)/(p + q)  ½(b-c)² ∫ pq/(p+q)
`Hinge`         max(0, 1 - a)       max(0, 1 + a)        sign(p - q)          2 ∫ min(p, q)
`Wasserstein`   -a                  a                    none (see there)     -W₁, C 1-Lipschitz
==============  ==================  ===================  ===================  =====================

with D_λ the divergence of f(u) = u log u/(u+λ) + λ log λ/(λ+u) + (1+λ) log(1+λ) - λ log λ and
c(λ) = (1+λ) log(1+λ) - λ log λ; for λ = 1 that is 2 log 2 - 2 JSD(p, q). The generator's turn is
either the same game (`saturating`: -fake) or, from Goodfellow et al. on, another one with the same
fixed points and a gradient where q is far from p (real in place of -fake).

Everything is computed from logits: log D = -softplus(-C) keeps its gradient where D rounds to 0.
A loss composes with any penalties (`jensen.objectives.penalties`) and with packing: a discriminator
of m rows at a time sees a lack of variety that no single row shows.

Sources: Goodfellow et al. 2014 (arXiv:1406.2661); Nowozin et al. 2016 (arXiv:1606.00709), eq. 7,
table 6; Mao et al. 2017 (arXiv:1611.04076), eq. 2; Lim & Ye 2017 (arXiv:1705.02894); Arjovsky et
al. 2017 (arXiv:1701.07875); Lin et al. 2018, PacGAN (arXiv:1712.04086).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key
from jensen.objectives.divergences import DIVERGENCES, Divergence
from jensen.objectives.penalties import Penalty


class Loss(abc.ABC):
    """The losses of both players, elementwise functions of the discriminator's logit."""

    @abc.abstractmethod
    def real(self, logit: Array) -> Array:
        """Return the discriminator's loss on a row of the data, the shape of `logit`."""

    @abc.abstractmethod
    def fake(self, logit: Array) -> Array:
        """Return the discriminator's loss on a generated row, the shape of `logit`."""

    @abc.abstractmethod
    def generator(self, logit: Array) -> Array:
        """Return the generator's loss on a generated row, the shape of `logit`."""

    @abc.abstractmethod
    def optimum(self, log_ratio: Array) -> Array:
        """Return the best logit where log p(x)/q(x) = `log_ratio` (nats)."""


@dataclass(frozen=True)
class Logistic(Loss):
    r"""The loss of Goodfellow et al. with weight λ on generated rows: E_p log D + λ E_q log(1-D).

    Args:
        weight: λ > 0, the price of taking a generated row for a real one.
        saturating: the generator minimises λ E_q log(1 - D), the same game; else -E_q log D.

    Raises:
        InputError: for a weight that is not above 0.

    Example:
        >>> round(float(Logistic().real(jnp.zeros(()))), 4)  # D = 1/2: log 2
        0.6931
    """

    weight: float = 1.0
    saturating: bool = False

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"the weight of generated rows must be above 0, got {self.weight}")

    def real(self, logit: Array) -> Array:
        """Return -log D = softplus(-a)."""
        return jax.nn.softplus(-logit)

    def fake(self, logit: Array) -> Array:
        """Return -λ log(1 - D) = λ softplus(a)."""
        return self.weight * jax.nn.softplus(logit)

    def generator(self, logit: Array) -> Array:
        """Return λ log(1 - D) where saturating, else -log D."""
        return -self.fake(logit) if self.saturating else self.real(logit)

    def optimum(self, log_ratio: Array) -> Array:
        """Return the logit of D = p/(p + λq): log p/q - log λ."""
        return log_ratio - jnp.log(self.weight)


@dataclass(frozen=True)
class FDivergence(Loss):
    """The variational bound of an f-divergence: D_f(p‖q) ≥ E_p g(C) - E_q f*(g(C)).

    Args:
        divergence: f by its two terms T = g(a) = f'(eᵃ) and f*(g(a)), see `divergences`.
        saturating: the generator minimises the same bound; else -E_q g(C).

    Example:
        >>> loss = FDivergence(DIVERGENCES["kl"])
        >>> float(loss.optimum(jnp.float32(0.3))) == float(jnp.float32(0.3))
        True
    """

    divergence: Divergence
    saturating: bool = True

    def real(self, logit: Array) -> Array:
        """Return -g(a)."""
        return -self.divergence.output(logit)

    def fake(self, logit: Array) -> Array:
        """Return f*(g(a))."""
        return self.divergence.conjugate_of_output(logit)

    def generator(self, logit: Array) -> Array:
        """Return -f*(g(a)) where saturating, else -g(a)."""
        return -self.fake(logit) if self.saturating else self.real(logit)

    def optimum(self, log_ratio: Array) -> Array:
        """Return log p/q, which g maps to f'(p/q); ±∞ where g only tends to that."""
        if self.divergence.tight is None:
            return log_ratio
        return jnp.where(log_ratio == 0, 0.0, jnp.copysign(jnp.inf, log_ratio))


@dataclass(frozen=True)
class LeastSquares(Loss):
    """Least squares on the score: data towards b, generated rows towards c.

    Args:
        high: b, the target of data, for the discriminator and for the generator's rows.
        low: c, the target of generated rows.

    Example:
        >>> float(LeastSquares().optimum(jnp.zeros(())))
        0.5
    """

    high: float = 1.0
    low: float = 0.0

    def real(self, logit: Array) -> Array:
        """Return ½(a - b)²."""
        return 0.5 * (logit - self.high) ** 2

    def fake(self, logit: Array) -> Array:
        """Return ½(a - c)²."""
        return 0.5 * (logit - self.low) ** 2

    def generator(self, logit: Array) -> Array:
        """Return ½(a - b)²."""
        return self.real(logit)

    def optimum(self, log_ratio: Array) -> Array:
        """Return (b p + c q)/(p + q)."""
        return self.low + (self.high - self.low) * jax.nn.sigmoid(log_ratio)


@dataclass(frozen=True)
class Hinge(Loss):
    """The hinge loss: logits beyond ±1 on their own side cost nothing.

    Example:
        >>> Hinge().fake(jnp.array([-2.0, 0.0, 2.0])).tolist()
        [0.0, 1.0, 3.0]
    """

    def real(self, logit: Array) -> Array:
        """Return max(0, 1 - a)."""
        return jax.nn.relu(1.0 - logit)

    def fake(self, logit: Array) -> Array:
        """Return max(0, 1 + a)."""
        return jax.nn.relu(1.0 + logit)

    def generator(self, logit: Array) -> Array:
        """Return -a."""
        return -logit

    def optimum(self, log_ratio: Array) -> Array:
        """Return sign(p - q)."""
        return jnp.sign(log_ratio)


@dataclass(frozen=True)
class Wasserstein(Loss):
    """The dual of the Wasserstein-1 distance: sup over 1-Lipschitz C of E_p C - E_q C.

    Without a bound on C's slope (a gradient penalty, spectral normalisation) it has no optimum.

    Example:
        >>> float(Wasserstein().real(jnp.ones(())))
        -1.0
    """

    def real(self, logit: Array) -> Array:
        """Return -a."""
        return -logit

    def fake(self, logit: Array) -> Array:
        """Return a."""
        return logit

    def generator(self, logit: Array) -> Array:
        """Return -a."""
        return -logit

    def optimum(self, log_ratio: Array) -> Array:
        """Raise: the best critic depends on p and q as a whole, not on their ratio at x.

        Raises:
            InputError: always.
        """
        raise InputError(
            "a Wasserstein critic has no optimum that depends on log p/q alone",
            "Wasserstein",
            "compare E_p C - E_q C with the Wasserstein-1 distance",
        )


LOSSES = ("minimax", "non-saturating", "least-squares", "hinge", "wasserstein", *DIVERGENCES)
"""Every loss by name; `fake_weight` sets λ of the first two."""


def loss_named(name: str, fake_weight: float = 1.0) -> Loss:
    """Return the loss called `name`.

    Args:
        name: one of `LOSSES`.
        fake_weight: λ of the logistic losses; the others take 1 alone.

    Raises:
        InputError: for an unknown name, or a weight with a loss that has none.

    Example:
        >>> loss_named("minimax")
        Logistic(weight=1.0, saturating=True)
    """
    if name in ("minimax", "non-saturating"):
        return Logistic(fake_weight, saturating=name == "minimax")
    check_name(name, LOSSES, "loss", "loss")
    if fake_weight != 1.0:
        raise InputError(
            f"the {name} loss has no weight on generated rows, got {fake_weight}",
            "fake_weight",
            "set fake_weight=1, or choose the loss minimax or non-saturating",
        )
    fixed = {"least-squares": LeastSquares, "hinge": Hinge, "wasserstein": Wasserstein}
    return fixed[name]() if name in fixed else FDivergence(DIVERGENCES[name])


def pack(rows: Array, m: int) -> Array:
    """Return the rows `(n, D)` concatenated m at a time: `(⌈n/m⌉, m·D)`.

    Where m does not divide n the last pack is completed from the first rows: none is dropped.

    Example:
        >>> pack(jnp.arange(3.0)[:, None], 2).tolist()
        [[0.0, 1.0], [2.0, 0.0]]
    """
    n = rows.shape[0]
    packs = -(-n // m)
    if packs * m != n:
        rows = rows[jnp.arange(packs * m) % n]
    return rows.reshape(packs, -1)


class Adversarial(eqx.Module):
    """The objective of (discriminator, generator): a loss, penalties on the discriminator, packing.

    A batch of n rows is judged as ⌈n/m⌉ packs against as many packs of fresh generated rows.

    Args:
        loss: the losses of both players.
        penalties: added to the discriminator's loss.
        packing: m, rows that the discriminator sees at once.

    Raises:
        InputError: for a packing below 1.

    Example:
        >>> from jensen.models.implicit import Discriminator, Generator
        >>> players = (
        ...     Discriminator(jax.random.key(0), 2, (8,)),
        ...     Generator(jax.random.key(1), 2, (8,), latent_dim=2),
        ... )
        >>> losses = Adversarial(Logistic())(players, jnp.ones((5, 2)), jax.random.key(2))
        >>> [round(float(loss), 4) for loss in losses]  # D = 1/2 at the start
        [1.3863, 0.6931]
    """

    loss: Loss = eqx.field(static=True)
    penalties: tuple[Penalty, ...] = eqx.field(static=True, default=())
    packing: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.packing < 1:
            raise InputError(f"packing must be at least 1, got {self.packing}")

    def __call__(self, players: tuple[Any, Any], batch: Array, key: Key) -> tuple[Array, Array]:
        """Return (discriminator's loss, generator's loss), nats for the logistic losses.

        Args:
            players: the discriminator (`C(x)`, a logit) and the generator (`noise`, `__call__`).
            batch: rows of the data `(n, D)`.
            key: randomness of the generated rows and of the penalties.
        """
        discriminator, generator = players
        for_rows, for_penalties = jax.random.split(key)
        real = pack(batch, self.packing)
        noise = generator.noise(for_rows, (real.shape[0] * self.packing,))
        fake = pack(jax.vmap(generator)(noise), self.packing)
        # two calls: the generator's turn needs only the second
        on_real, on_fake = jax.vmap(discriminator)(real), jax.vmap(discriminator)(fake)
        loss_d = jnp.mean(self.loss.real(on_real)) + jnp.mean(self.loss.fake(on_fake))
        for i, penalty in enumerate(self.penalties):
            noise_key = jax.random.fold_in(for_penalties, i)
            loss_d = loss_d + penalty(discriminator, real, fake, noise_key)
        return loss_d, jnp.mean(self.loss.generator(on_fake))
