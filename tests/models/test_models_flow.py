"""Every flow builder is a density, and samples from it."""

from __future__ import annotations

import inspect
import pickle

import equinox as eqx
import flow_laws as laws
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from conftest import FLOWS, key, randomise, unless_heavy
from jensen._errors import InputError
from jensen.models import base, continuous, flow
from jensen.models.base import NormalBase, StudentTBase
from jensen.models.flow import MAF, RealNVP


@pytest.fixture(autouse=True)
def _float64(request):
    with jax.enable_x64("single" not in request.node.name):
        yield


@pytest.fixture(scope="module")
def integrated():
    """The axes and masses of each row, computed once."""
    kept = {}

    def get(name: str):
        if name not in kept:
            case = FLOWS[name]
            kept[name] = laws.masses(laws.model(case), case.dim, laws.context(case))
        return kept[name]

    return get


def test_every_builder_has_a_row():
    builders = {
        name
        for module in (flow, continuous)
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and name[0].isupper()
    }
    assert {name.split("-")[0] for name in FLOWS} == builders


def test_every_base_has_a_row():
    concrete = {
        c
        for c in vars(base).values()
        if inspect.isclass(c) and issubclass(c, base.Base) and not inspect.isabstract(c)
    }
    assert {type(case.make().base) for case in FLOWS.values()} == concrete


@pytest.mark.parametrize("name", [unless_heavy(n, spare=True) for n in FLOWS])
def test_integrates_to_one(name, integrated):
    laws.assert_integrates_to_one(integrated(name)[1])


@pytest.mark.parametrize("name", [unless_heavy(n, spare=True) for n in FLOWS])
def test_samples_follow_the_density(name, integrated):
    case = FLOWS[name]
    model, c = laws.model(case), laws.context(case)
    x, log_prob = laws.draws(model, key(17), c)
    assert x.shape == (laws.DRAWS, case.dim)
    assert np.isfinite(np.asarray(x)).all()
    # 1e-8: moderate parameters, float64, conditioning below 1e5
    assert np.abs(np.asarray(laws.log_probs(model, x, c) - log_prob)).max() < 1e-8
    laws.assert_samples_fit(np.asarray(x), *integrated(name))
    laws.assert_latents_fit(model, x, c)


@pytest.mark.parametrize("name", ["MAF", "SplineCoupling", "MAF-one-dimension"])
def test_the_laws_catch_samples_that_are_too_wide(name, integrated):
    case = FLOWS[name]
    model = laws.model(case)
    x = 1.15 * laws.draws(model, key(17), None)[0]
    with pytest.raises(AssertionError):
        laws.assert_samples_fit(np.asarray(x), *integrated(name))
    with pytest.raises(AssertionError):
        laws.assert_latents_fit(model, x, None)


class Flipped(eqx.Module):
    """A flow whose log-density has the log-determinant with the wrong sign."""

    flow: eqx.Module

    def log_prob(self, x, context=None):
        z, log_det = self.flow.bijection.inverse_and_log_det(x, context)
        return self.flow.base.log_prob(z) - log_det

    def sample_and_log_prob(self, key, context=None):
        return self.flow.sample_and_log_prob(key, context)


@pytest.mark.parametrize("name", ["RealNVP", "MAF-one-dimension"])
def test_the_laws_catch_a_log_determinant_of_the_wrong_sign(name):
    case = FLOWS[name]
    _, mass = laws.masses(Flipped(laws.model(case)), case.dim, None)
    with pytest.raises(AssertionError):
        laws.assert_integrates_to_one(mass)


@pytest.mark.parametrize("name", ["MAF", "MAF-context"])
def test_sample_has_its_shape_and_draws_anew(name):
    case = FLOWS[name]
    model, c = laws.model(case), laws.context(case)
    x = model.sample(key(3), (2, 3), c)
    assert x.shape == (2, 3, case.dim)
    assert np.unique(np.asarray(x).reshape(6, -1), axis=0).shape[0] == 6
    assert (x == model.sample(key(3), (2, 3), c)).all()
    assert model.sample(key(3), (), c).shape == (case.dim,)


@pytest.mark.parametrize("name", [n for n, case in FLOWS.items() if case.context_dim])
def test_a_conditional_flow_uses_its_context_and_demands_it(name):
    case = FLOWS[name]
    model = laws.model(case)
    x = jnp.asarray([[0.3, -0.2], [1.0, 0.5]])[:, : case.dim]
    one, other = (laws.log_probs(model, x, laws.context(case, v)) for v in (0.0, 1.0))
    assert (np.abs(np.asarray(one - other)) > 1e-4).all()
    for call in (model.log_prob, lambda _, c: model.sample(key(0), (2,), c)):
        with pytest.raises((InputError, TypeError, ValueError)):
            call(x[0], None)


@pytest.mark.parametrize("name", FLOWS)
def test_starts_as_its_base(name):
    """With its constructor's numbers every flow is its base distribution."""
    case = FLOWS[name]
    made = case.make()
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, case.dim)))
    want = jax.vmap(made.base.log_prob)(x)
    assert np.allclose(laws.log_probs(made, x, laws.context(case)), want, atol=1e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_pickles_in_single_precision(name):
    case = FLOWS[name]
    model = randomise(case.make(), laws.SCALE)
    again = pickle.loads(pickle.dumps(model))
    x, c = jnp.ones((3, case.dim), jnp.float32), laws.context(case)
    assert jax.tree.structure(again) == jax.tree.structure(model)
    assert (laws.log_probs(again, x, c) == laws.log_probs(model, x, c)).all()


@pytest.mark.parametrize("options", [{"dim": 0}, {"dim": 2, "n_layers": 0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(InputError, match="dim ≥ 1"):
        MAF(key(), **options)


def test_a_coupling_flow_of_one_dimension_is_refused():
    with pytest.raises(InputError, match="at least two"):
        RealNVP(key(), 1)


def test_normal_base_is_scipys():
    z = np.array([[0.3, -2.0, 5.0], [0.0, 30.0, 1.0]])
    ours = jax.vmap(NormalBase(3).log_prob)(jnp.asarray(z))
    assert np.allclose(ours, stats.norm.logpdf(z).sum(1), rtol=1e-13)


def test_student_t_base_is_scipys():
    made = randomise(StudentTBase(3, min_df=1.5), 3.0, dtype=np.float64)
    df = 1.5 + np.logaddexp(0, np.asarray(made.raw_df))
    z = np.array([[0.3, -2.0, 5.0], [0.0, 30.0, 1e4]])
    ours = jax.vmap(made.log_prob)(jnp.asarray(z))
    assert np.allclose(ours, stats.t.logpdf(z, df).sum(1), rtol=1e-11)
    u = stats.t.cdf(np.asarray(jax.vmap(made.sample)(jax.random.split(key(2), 4000))), df)
    assert all(stats.kstest(u[:, d], "uniform").pvalue > laws.ALARM / 3 for d in range(3))


@pytest.mark.slow
def test_student_t_base_starts_near_the_normal_with_heavier_tails():
    made, normal = StudentTBase(1), NormalBase(1)
    assert float(1 + jax.nn.softplus(made.raw_df[0])) == pytest.approx(30, abs=1e-4)
    near, far = (
        float(made.log_prob(jnp.full(1, v)) - normal.log_prob(jnp.full(1, v))) for v in (0.5, 6.0)
    )
    assert abs(near) < 0.02
    assert far > 2
