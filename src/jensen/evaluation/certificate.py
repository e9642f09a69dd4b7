r"""What a flow fitted to an unnormalised density p̃ = Z p is worth: log Z, its error, and coverage.

With draws x_i of the flow q and weights w_i = p̃(x_i)/q(x_i), E_q[w] = Z and

    log Ẑ = log 1/N Σ w_i,      se, ESS and Pareto k̂ as in `jensen.evaluation.evidence`
    KL(q ‖ p) = log Z - E_q[log w]

A mode that q never visits leaves no trace in these: the weights of the draws are even, k̂ is small,
and log Ẑ is too low by -log(1 - its share). So annealed chains that know nothing of q look for mass
(`jensen.evaluation.target`). With their ends y_c and weights v_c, independently of q,

    log Z ≈ log 1/C Σ v_c,      missed = Σ v_c 1[p(y_c)/q(y_c) > 20] / Σ v_c
    KL(p ‖ q) ≈ Σ v_c log p̃(y_c)/q(y_c) / Σ v_c - log Z

`missed` is the share of the target's mass where the flow has less than a twentieth of the density
that it should have. Up to 2% it is added to se (in squares), above that a warning says it.

Sources: Vehtari et al. 2024 (arXiv:1507.02646) for k̂; that reverse KL drops modes: Minka 2005
(MSR-TR-2005-173).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.evaluation.evidence import summarised
from jensen.evaluation.pareto import LIMIT
from jensen.evaluation.target import Chains, written

_SHORT = math.log(20.0)  # log p/q above which q is said to miss a place
_MISSED = 0.02  # share of the mass above which it is said
_FEW = 50.0  # effective chains below which coverage is not judged
_OUTSIDE = 0.01  # share of draws where p̃ = 0 above which it is said


@dataclass(frozen=True)
class Certificate:
    """What a fit to an unnormalised density is worth; nats.

    Attributes:
        log_z: log Ẑ by the flow's draws.
        weights_se: its standard error, as far as the weights show it.
        ess: effective sample size of the weights.
        pareto_k: k̂ of the weights.
        n: draws.
        elbo: E_q[log w], a lower bound of log Z; `elbo_se` its standard error.
        outside: share of draws where p̃ = 0.
        chains_log_z: log Z by the chains; `chains_se`, `chains_ess` its error and effective number.
        n_chains: C.
        missed: share of the target's mass that the flow misses, by the chains; `missed_se`.
        missed_at: where most of it is, or empty.
        cross: E_p[log p̃(x)/q(x)] by the chains, an upper bound of log Z; `cross_se`.
    """

    log_z: float
    weights_se: float
    ess: float
    pareto_k: float
    n: int
    elbo: float
    elbo_se: float
    outside: float
    chains_log_z: float
    chains_se: float
    chains_ess: float
    n_chains: int
    missed: float
    missed_se: float
    missed_at: tuple[float, ...]
    cross: float
    cross_se: float

    @property
    def se(self) -> float:
        """Standard error of log Ẑ: that of the weights, and `missed`, whose share it may lack."""
        return math.hypot(self.weights_se, self.missed)

    @property
    def covered(self) -> bool:
        """Whether the chains find no mass that the flow misses."""
        return self.missed <= _MISSED

    @property
    def agrees(self) -> bool:
        """Whether both estimates of log Z agree within 3 of their common standard errors."""
        gap = abs(self.chains_log_z - self.log_z)
        return gap <= 3.0 * math.hypot(self.se, self.chains_se) or not self.judges

    @property
    def judges(self) -> bool:
        """Whether the chains are enough to judge coverage."""
        return self.chains_ess >= _FEW

    @property
    def trusted(self) -> bool:
        """Whether log Ẑ can be read within its standard error, as far as can be told."""
        return self.pareto_k <= LIMIT and self.covered and self.agrees and self.judges

    @property
    def reverse_kl(self) -> tuple[float, float]:
        """KL(q ‖ p) and its standard error; with the chains' log Z where the flow misses mass."""
        z, error = self._best()
        return z - self.elbo, math.hypot(error, self.elbo_se)

    @property
    def forward_kl(self) -> tuple[float, float]:
        """KL(p ‖ q) by the chains, and its standard error."""
        z, error = self._best()
        return self.cross - z, math.hypot(error, self.cross_se)

    def _best(self) -> tuple[float, float]:
        """Return log Z and its error, by the draws where these can be trusted."""
        if self.pareto_k <= LIMIT and self.covered and self.agrees:
            return self.log_z, self.se
        return self.chains_log_z, self.chains_se

    def warnings(self) -> list[str]:
        """Return what speaks against the figures, in plain words; nothing if nothing does."""
        found = []
        if not self.pareto_k <= LIMIT:
            found.append(
                f"The Pareto k-hat of the weights is {self.pareto_k:.2f}, above {LIMIT}: a few "
                "draws make up log Z, and its standard error cannot be trusted."
            )
        if not self.covered:
            where = f", most of it near x = {written(np.array(self.missed_at))}"
            found.append(
                f"The flow misses mass: {self.missed:.1%} ± {self.missed_se:.1%} of the target, as "
                "independent annealed chains find it, lies where the flow has less than a "
                f"twentieth of its density{where if self.missed_at else ''}."
            )
        if not self.agrees:
            found.append(
                f"Independent annealed chains put log Z at {self.chains_log_z:.3f} ± "
                f"{self.chains_se:.3f}, the flow at {self.log_z:.3f} ± {self.se:.3f}."
            )
        if not self.judges:
            found.append(
                f"Coverage is not judged: the chains are worth {self.chains_ess:.0f} independent "
                f"draws of the target, and {_FEW:.0f} are needed. Take more temperatures, or a "
                "scale nearer to that of the target."
            )
        if self.outside > _OUTSIDE:
            found.append(
                f"{self.outside:.1%} of the draws lie outside the support of the target: write it "
                "in coordinates without an end (the logarithm, the logit), with their Jacobian."
            )
        return found

    def verdict(self) -> str:
        """Return in plain words whether log Z and the draws can be believed."""
        if self.trusted:
            return (
                f"log Z = {self.log_z:.4f} ± {self.se:.4f} can be believed: the weights are even "
                f"(k-hat {self.pareto_k:.2f}, {self.ess / self.n:.0%} of the draws effective), and "
                f"{self.n_chains} independent chains find no mass that the flow misses."
            )
        return "Do not rely on these figures. " + " ".join(self.warnings())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, with the verdict."""
        kept = {k: v for k, v in asdict(self).items() if k != "log_z"}
        names = ("value", "se")
        return {
            "log_z": {"value": self.log_z, "se": self.se},
            **kept,
            "missed_at": list(self.missed_at),
            "reverse_kl": dict(zip(names, self.reverse_kl, strict=True)),
            "forward_kl": dict(zip(names, self.forward_kl, strict=True)),
            "trusted": self.trusted,
            "warnings": self.warnings(),
            "verdict": self.verdict(),
        }


def certify(
    log_q: np.ndarray,
    log_p: np.ndarray,
    chains: Chains,
    log_q_chains: np.ndarray,
    log_p_chains: np.ndarray,
) -> Certificate:
    """Return what the flow's draws and the chains say of a fit.

    Args:
        log_q: log q `(N,)` of the flow's draws, nats.
        log_p: log p̃ `(N,)` of the same.
        chains: independent of the flow.
        log_q_chains: log q `(C,)` of the chains' points.
        log_p_chains: log p̃ `(C,)` of the same.

    Raises:
        InputError: if p̃ is 0 at every draw.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2000, 1))
        >>> log_q = -0.5 * x[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
        >>> found = certify(log_q, log_q + 3.0, Chains(x, np.full(2000, 3.0)), log_q, log_q + 3.0)
        >>> round(found.log_z, 6), round(found.forward_kl[0], 6), found.trusted
        (3.0, 0.0, True)
    """
    log_w = log_p - log_q
    if not np.any(np.isfinite(log_w)):
        raise InputError("the density is 0 at every draw of the flow", "log_density", "set scale")
    log_z, se, ess, k_hat = (float(v[0]) for v in summarised(log_w[None]))
    inside = np.isfinite(log_w)
    alive = np.isfinite(chains.log_weights)
    if not alive.any():
        raise InputError("the density is 0 at the end of every chain", "log_density", "set scale")
    other, other_se, other_ess, _ = (float(v[0]) for v in summarised(chains.log_weights[None]))
    shares = chains.shares[alive]
    ratio = (log_p_chains - log_q_chains)[alive]
    short = ratio - max(log_z, other) > _SHORT
    missed, missed_se = _weighted(shares, short.astype(float))
    cross, cross_se = _weighted(shares, ratio)
    worst = chains.points[alive][np.argmax(shares * short)]
    return Certificate(
        log_z,
        se,
        ess,
        k_hat,
        len(log_w),
        elbo=float(np.mean(log_w[inside])),
        elbo_se=float(np.std(log_w[inside]) / math.sqrt(inside.sum())),
        outside=float(1.0 - np.mean(inside)),
        chains_log_z=other,
        chains_se=other_se,
        chains_ess=other_ess,
        n_chains=len(alive),
        missed=missed,
        missed_se=missed_se,
        missed_at=tuple(float(v) for v in worst) if missed > 0 else (),
        cross=cross,
        cross_se=cross_se,
    )


def _weighted(shares: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return Σ s v of shares that sum to 1, and its delta-method standard error."""
    mean = float(np.sum(shares * values))
    return mean, float(np.sqrt(np.sum(shares**2 * (values - mean) ** 2)))
