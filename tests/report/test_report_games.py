"""Pictures of games: what is drawn is what the mathematics says, the same bytes every time."""

import subprocess
import sys
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from PIL import Image

from jensen._errors import InputError
from jensen.report import animate as animations
from jensen.report import canvas, simplex, tracks
from jensen.report.curves import convergence, curves
from jensen.report.portrait import phase_panels, phase_portrait, phase_scene, velocity_grid
from jensen.report.spectra import radius_curves, region, spectrum, spectrum_by_rule

GRID = np.linspace(-2.0, 2.0, 21)
STEP = 0.4


def turning(p):
    """Return the velocity of the bilinear game xy: a turn about 0, anticlockwise."""
    return np.stack([-p[:, 1], p[:, 0]], axis=1)


def dirac(p, gamma=0.3):
    """Return the velocity of the regularised Dirac-GAN."""
    pull = 1.0 / (1.0 + np.exp(-p[:, 0] * p[:, 1]))
    return np.stack([p[:, 1] * pull, -p[:, 0] * pull - gamma * p[:, 1]], axis=1)


def descend(start, n, step=STEP):
    """Return the path `(n + 1, 2)` of the simultaneous rule in the bilinear game."""
    path = [np.array(start, float)]
    for _ in range(n):
        path.append(path[-1] + step * turning(path[-1][None])[0])
    return np.array(path)


def cycle(n=60):
    """Return an orbit `(n, 3)` on the simplex around its middle."""
    t = np.linspace(0, 2 * np.pi, n)[:, None]
    return 1 / 3 + 0.2 * np.cos(t + 2 * np.pi * np.arange(3) / 3)


def optimistic(step):
    """Return the radius of the optimistic rule: the roots of μ² - (1 + 2hλ) μ + hλ."""

    def radius(values):
        half = 0.5 + step * values
        root = np.sqrt(half**2 - step * values + 0j)
        return np.maximum(np.abs(half + root), np.abs(half - root))

    return radius


RADII = {
    "simultaneous": lambda λ: np.abs(1 + STEP * λ),
    "extragradient": lambda λ: np.abs(1 + STEP * λ + (STEP * λ) ** 2),
    "optimistic": optimistic(STEP),
}
FIELD = velocity_grid(turning, GRID, GRID)


def laid(fig):
    """Lay a figure out and return it."""
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()
    return fig


def words(fig):
    """Return everything the figure says beside its axes."""
    parts = [t.get_text() for ax in fig.axes for t in (*ax.texts, ax.title)]
    parts += [ax.get_title(loc="left") for ax in fig.axes]
    parts += [t.get_text() for leg in fig.legends for t in leg.get_texts()]
    return " ".join(" | ".join(parts).split())


class TestTracks:
    window = (-2.0, 2.0, -1.0, 1.0)

    def test_cut_where_the_line_crosses_the_border(self):
        made = tracks.track(np.array([[0, 0], [1, 0.5], [3.0, 1.0], [9, 9]]), self.window)
        np.testing.assert_allclose(made.points, [[0, 0], [1, 0.5], [2, 0.75]], atol=1e-15)
        assert (made.leaves, made.last, made.outside) == (2, 3, 0)

    @pytest.mark.parametrize(("far", "cut"), [((1e300, 0), (2, 0)), ((0, -1e308), (0, -1))])
    def test_huge_steps(self, far, cut):
        made = tracks.track(np.array([[0, 0], far], float), self.window)
        np.testing.assert_allclose(made.points[-1], cut, atol=1e-12)

    def test_comes_back(self):
        made = tracks.track(np.array([[0, 0], [5, 0], [1.0, 0]]), self.window)
        assert (made.leaves, made.outside, len(made.points)) == (None, 1, 3)
        assert tracks.told({"": made}) == ["1 point outside the picture"]

    def test_not_finite_points_keep_the_number_of_the_others(self):
        made = tracks.track(
            np.array([[0, 0], [np.nan, 0], [1, 0], [5, np.inf], [5, 0]]), self.window
        )
        assert made.steps.tolist() == [0, 2, 4]
        assert (made.left_out, made.leaves) == (2, 4)

    def test_never_inside(self):
        made = tracks.track(np.full((3, 2), 7.0), self.window)
        assert tracks.told({"": made}) == ["lies outside the picture"]

    def test_many_that_leave(self):
        paths = {str(k): tracks.track(descend((1, 0), k), self.window) for k in (1, 30, 40)}
        first = paths["30"].leaves
        assert tracks.told(paths) == [f"2 of 3 leave the picture, the first at step {first}"]

    def test_the_cross_comes_at_the_step_of_leaving(self):
        made = tracks.track(np.array([[0, 0], [1, 0], [3.0, 0], [9, 0]]), self.window)
        drawn = tracks.draw_track(Figure().subplots(), made, canvas.style(0))
        seen = []
        for step in range(4):
            tracks.advance(drawn, step)
            seen.append((drawn.head.get_marker(), *drawn.head.get_xydata()[0].tolist()))
        assert seen == [("o", 0, 0), ("o", 1, 0), ("x", 2, 0), ("x", 2, 0)]
        assert made.leaves == 2


class TestPortrait:
    def test_streamlines_follow_the_field(self):
        fig = phase_portrait(FIELD, {})
        (lines,) = (c for c in fig.axes[0].collections if isinstance(c, LineCollection))
        radii = [np.linalg.norm(line, axis=1) for line in lines.get_segments()]
        assert len(radii) > 10
        assert max(np.ptp(r) for r in radii) < 0.02  # circles; the integrator's error is 0.003
        (heads,) = (c for c in fig.axes[0].collections if isinstance(c, PolyCollection))
        for tip, left, right in (p.vertices[:3] for p in heads.get_paths()):
            way = tip - (left + right) / 2
            assert way @ turning(tip[None])[0] > 0

    def test_rows_of_the_grid_belong_to_y(self):
        field = velocity_grid(lambda p: p * [1, 10], [0, 1, 2], [5, 6])
        np.testing.assert_array_equal(field.u, [[0, 1, 2], [0, 1, 2]])
        np.testing.assert_array_equal(field.v, [[50, 50, 50], [60, 60, 60]])

    def test_names_axes_and_marks(self):
        paths = {"a": descend((1, 0), 3), "b": descend((0, 1), 2)}
        fig = laid(phase_portrait(FIELD, paths, axes=("θ (no unit)", "ψ (no unit)"), title="T"))
        ax = fig.axes[0]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("θ (no unit)", "ψ (no unit)")
        for name in ("a", "b", "start", "end", "stationary point"):
            assert name in words(fig)
        ends = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 1]
        for point in (*(p[0] for p in paths.values()), *(p[-1] for p in paths.values()), (0, 0)):
            assert any(np.allclose(end, point) for end in ends)

    @pytest.mark.parametrize("count", [1, 2, 5])
    @pytest.mark.parametrize("top", [1.5, 2.0])
    def test_true_to_scale(self, count, top):
        field = velocity_grid(dirac, GRID, np.linspace(-top, top, 9))
        rules = {str(k): descend((1, 0), 9 * k) for k in range(count)}
        for ax in laid(phase_panels(field, rules)).axes:
            box = ax.get_window_extent()
            scale = box.height / np.ptp(field.y) / (box.width / np.ptp(field.x))
            assert abs(scale - 1) < 0.01

    def test_panels_say_verdict_and_leaving(self):
        rules = {"one": descend((1, 0), 40), "two": {"x": descend((1, 0), 2), "y": [[1, np.nan]]}}
        fig = laid(phase_panels(FIELD, rules, verdicts={"one": "spirals out"}))
        inside = (np.abs(rules["one"]) <= 2).all(axis=1)
        step = int(np.flatnonzero(inside)[-1]) + 1
        said = words(fig)
        assert f"spirals out leaves the picture at step {step}" in said
        assert "1 point not finite, left out" in said
        assert "leaves the picture" not in fig.axes[1].texts[0].get_text()
        limits = {ax.get_xlim() + ax.get_ylim() for ax in fig.axes}
        assert limits == {(-2.0, 2.0, -2.0, 2.0)}

    def test_a_name_looks_the_same_in_each_panel(self):
        rules = {"one": {"a": [[0, 1]], "b": [[1, 1]]}, "two": {"b": [[1, 0]]}}
        _, drawn = phase_scene(FIELD, rules)
        assert drawn[1].look == drawn[2].look != drawn[0].look

    def test_not_finite_arrows_are_counted(self):
        field = velocity_grid(lambda p: np.where(p[:, :1] > 1.9, np.nan, turning(p)), GRID, GRID)
        for arrows in ("stream", "quiver"):
            assert "21 of 441 arrows not finite" in words(phase_portrait(field, {}, arrows=arrows))

    @pytest.mark.parametrize("bad", [0.0, np.nan])
    @pytest.mark.parametrize("arrows", ["stream", "quiver"])
    def test_a_field_without_motion(self, bad, arrows):
        field = (GRID, GRID, np.full((21, 21), bad), np.full((21, 21), bad))
        laid(phase_portrait(field, {"a": [[0, 1], [1, 1]]}, arrows=arrows))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: phase_portrait((GRID, GRID, np.ones((21, 21))), {}),
            lambda: phase_portrait((GRID, GRID, np.ones((21, 20)), np.ones((21, 21))), {}),
            lambda: phase_portrait((GRID[::-1], GRID, FIELD.u, FIELD.v), {}),
            lambda: phase_portrait((GRID**3, GRID, FIELD.u, FIELD.v), {}),
            lambda: phase_portrait(([1.0], GRID, FIELD.u, FIELD.v), {}),
            lambda: phase_portrait(FIELD, {"a": [1.0, 2.0]}),
            lambda: phase_portrait(FIELD, {"a": np.ones((3, 3))}),
            lambda: phase_portrait(FIELD, {"a": [["x", "y"]]}),
            lambda: phase_portrait(FIELD, {}, arrows="wind"),  # type: ignore[arg-type]
            lambda: phase_portrait(FIELD, {}, fixed_points=[1.0, 2.0]),
            lambda: phase_panels(FIELD, {}),
            lambda: phase_panels(FIELD, {"a": {}}),
            lambda: velocity_grid(lambda p: p[:, 0], GRID, GRID),
        ],
    )
    def test_refusals(self, make):
        with pytest.raises(InputError):
            make()


class TestSpectra:
    def test_eigenvalues_stand_where_they_are(self):
        fig = laid(spectrum([-0.5, 0.5j, -0.5j, np.nan], "Dirac-GAN"))
        points = fig.axes[0].lines[-1].get_xydata()
        np.testing.assert_array_equal(points, [[-0.5, 0], [0, 0.5], [0, -0.5]])
        assert "largest real part 0 1 eigenvalues not finite" in words(fig)
        low, high = fig.axes[0].get_xlim()
        assert low < -0.5 < 0 < high

    def test_the_shaded_half_plane_is_the_left_one(self):
        ax = spectrum([-1.0, 2.0]).axes[0]
        (shade,) = ax.patches
        box = shade.get_window_extent().transformed(ax.transData.inverted())
        assert abs(box.x1) < 1e-12
        assert box.x0 <= ax.get_xlim()[0] + 1e-12

    def test_repeated_eigenvalues_are_counted(self):
        assert "×3" in words(spectrum([-0.5, -0.5, -0.5, -0.1]))

    @pytest.mark.parametrize("rule", RADII)
    def test_the_region_is_where_the_radius_is_below_one(self, rule):
        ax = laid(spectrum_by_rule([0.5j], {rule: RADII[rule]}, STEP)).axes[0]
        filled, border = (c for c in ax.collections if isinstance(c, ContourSet))
        on = np.vstack([path.vertices for path in border.get_paths()])
        # linear interpolation between points 0.03 apart, radii of curvature at most (h/1)² · 4
        assert np.abs(RADII[rule](on[:, 0] + 1j * on[:, 1]) - 1).max() < 5e-3
        rng = np.random.default_rng(0)
        spots = rng.uniform(*np.array([ax.get_xlim(), ax.get_ylim()]).T, size=(400, 2))
        rho = RADII[rule](spots[:, 0] + 1j * spots[:, 1])
        clear = np.abs(rho - 1) > 1e-2
        inside = np.zeros(400, bool)
        for path in filled.get_paths():
            inside ^= path.contains_points(spots)
        assert 0.05 < (rho < 1).mean() < 0.95
        np.testing.assert_array_equal(inside[clear], (rho < 1)[clear])

    def test_region_is_the_radius_on_the_grid(self):
        re, im = np.linspace(-3, 1, 5), np.linspace(-1, 1, 3)
        for i, j in ((0, 0), (2, 4), (1, 3)):
            expected = np.abs(1 + STEP * (re[j] + 1j * im[i]))
            assert region(RADII["simultaneous"], re, im)[i, j] == pytest.approx(expected, rel=1e-15)

    def test_verdicts(self):
        fig = spectrum_by_rule([0.5j, -0.5j], RADII, STEP)
        said = [ax.texts[0].get_text() for ax in fig.axes]
        assert said[0] == f"radius {np.sqrt(1 + 0.04):.4g}: grows"
        assert said[1] == f"radius {np.sqrt(1 - 0.04 + 0.0016):.4g}: contracts"
        fig = spectrum_by_rule([1j], {"turn": lambda λ: np.ones(λ.size)}, STEP)
        assert "neither" in words(laid(fig))

    def test_a_radius_that_is_not_finite_does_not_contract(self):
        fig = laid(spectrum_by_rule([0.0, -1.0], {"a": lambda λ: np.full(λ.size, np.nan)}, STEP))
        assert "∞: grows" in words(fig)

    def test_largest_steps_of_the_bilinear_game(self):
        h = np.linspace(0.001, 1.5, 1500)
        at = np.array([1j, -1j])
        rules = {
            "extragradient": np.sqrt(1 - h**2 + h**4),
            "optimistic": [optimistic(step)(at).max() for step in h],
            "simultaneous": np.sqrt(1 + h**2),
            "damped": np.full(h.size, 0.5),
        }
        said = words(laid(radius_curves(h, rules)))
        assert "extragradient: contracts for h < 1 |" in said
        assert f"optimistic: contracts for h < {1 / np.sqrt(3):.3g} |" in said
        assert "simultaneous: does not contract" in said
        assert "damped: contracts throughout" in said
        assert "leave the picture" in said

    @pytest.mark.parametrize(
        "make",
        [
            lambda: spectrum([np.nan]),
            lambda: spectrum({}),
            lambda: spectrum_by_rule([], RADII, STEP),
            lambda: spectrum_by_rule([1j], {}, STEP),
            lambda: spectrum_by_rule([1j], RADII, 0.0),
            lambda: spectrum_by_rule([1j], RADII, np.nan),
            lambda: spectrum_by_rule([1j], RADII, STEP, limits=(0, 0, -1, 1)),
            lambda: spectrum_by_rule([1j], {"a": lambda λ: 0.5}, STEP),
            lambda: radius_curves([2, 1], {"a": [1, 1]}),
            lambda: radius_curves([0, 1], {"a": [1, 1]}),
            lambda: radius_curves([1, 2], {"a": [1, 1, 1]}),
            lambda: radius_curves([1, 2], {}),
        ],
    )
    def test_refusals(self, make):
        with pytest.raises(InputError):
            make()


class TestSimplex:
    def test_corners_and_middle(self):
        places = simplex.barycentric(np.vstack([np.eye(3), np.full(3, 1 / 3)]))
        expected = [[0, 0], [1, 0], [0.5, np.sqrt(0.75)], [0.5, np.sqrt(0.75) / 3]]
        np.testing.assert_allclose(places, expected, atol=1e-15)

    def test_lengths_are_those_of_the_simplex_over_root_two(self):
        p = np.random.default_rng(0).dirichlet(np.ones(3), 40)
        before = np.linalg.norm(p[:, None] - p[None], axis=2)
        q = simplex.barycentric(p)
        after = np.linalg.norm(q[:, None] - q[None], axis=2)
        np.testing.assert_allclose(after, before / np.sqrt(2), atol=1e-14)

    def test_names_stand_at_their_corners(self):
        ax = laid(simplex.ternary({"a": cycle()}, corners=("Stein", "Blatt", "Schere"))).axes[0]
        found = {t.get_text(): t.xy for t in ax.texts[:3]}
        np.testing.assert_allclose(found["Blatt"], simplex.barycentric([[0, 1, 0]])[0], atol=1e-15)
        np.testing.assert_allclose(found["Schere"], simplex.barycentric([[0, 0, 1]])[0], atol=1e-15)
        box = ax.get_window_extent()
        scale = box.height / np.ptp(ax.get_ylim()) / (box.width / np.ptp(ax.get_xlim()))
        assert abs(scale - 1) < 0.01

    def test_heat_has_a_bar_with_its_unit_and_is_right(self):
        fig = laid(simplex.ternary({"a": cycle()}, heat=lambda p: p[:, 1], unit="share of paper"))
        assert fig.axes[1].get_xlabel() == "share of paper"
        (shade,) = (c for c in fig.axes[0].collections if isinstance(c, ContourSet))
        for low, path in zip(shade.levels, shade.get_paths(), strict=False):
            x = path.vertices
            share = x[:, 0] - x[:, 1] / np.sqrt(3)  # p₂ from the picture
            assert share.min() > low - 1e-9
            assert share.max() < low + 0.1 + 1e-9

    def test_panels(self):
        rules = {"Hedge": cycle(), "average": {"a": cycle(), "b": cycle(3)}}
        fig = laid(
            simplex.ternary_panels(rules, verdicts={"Hedge": "cycles"}, heat=lambda p: p[:, 0])
        )
        assert [ax.get_title(loc="left") for ax in fig.axes[:2]] == ["Hedge", "average"]
        assert "cycles" in words(fig)
        assert len(fig.axes) == 3

    def test_points_not_finite_are_counted(self):
        orbit = np.vstack([cycle(4), [[np.nan] * 3] * 2])
        assert "2 points not finite, left out" in words(simplex.ternary({"a": orbit}))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: simplex.barycentric([[0.5, 0.6, 0.0]]),
            lambda: simplex.barycentric([[1.1, -0.1, 0.0]]),
            lambda: simplex.barycentric([0.5, 0.5, 0.0]),
            lambda: simplex.ternary({"a": np.ones((4, 2))}),
            lambda: simplex.ternary({}, corners=("a", "b")),
            lambda: simplex.ternary({}, corners="abc"),
            lambda: simplex.ternary({}, heat=lambda p: p),
            lambda: simplex.ternary({}, heat=lambda p: p[:, 0] * np.nan),
            lambda: simplex.ternary({}, equilibrium=(1, 1, 1)),
            lambda: simplex.ternary_panels({}),
        ],
    )
    def test_refusals(self, make):
        with pytest.raises(InputError):
            make()


class TestCurves:
    t = np.arange(1, 101)

    def test_values_of_zero_are_drawn_at_the_stated_floor(self):
        y = np.where(self.t > 90, 0.0, 3e-5 * self.t)
        fig = laid(convergence({"a": (self.t, y)}))
        assert "10 values of 0 or less are drawn at the floor 1e−05" in words(fig)
        shown = fig.axes[0].lines[0].get_ydata()
        assert shown.min() == pytest.approx(1e-5, rel=1e-12)
        np.testing.assert_array_equal(shown[:90], y[:90])

    def test_all_zero(self):
        assert "floor 1e−16" in words(laid(convergence({"a": (self.t, 0.0 * self.t)})))

    def test_what_has_no_place_is_counted(self):
        fig = convergence({"a": ([0, 1, 2, 3], [1, np.nan, 1, np.inf])})
        assert "3 points not finite or at x ≤ 0, left out" in words(laid(fig))
        fig = convergence({"a": ([0, 1], [1, -1])}, logx=False, logy=False)
        assert "left out" not in words(laid(fig))
        assert fig.axes[0].get_yscale() == "linear"

    def test_rates_do_not_stretch_the_picture(self):
        curve = {"a": (self.t, 1.0 / self.t)}
        bare = convergence(curve).axes[0].get_ylim()
        fig = laid(convergence(curve, {"t⁻⁹": (self.t, 1.0 * self.t**-9.0)}))
        assert fig.axes[0].get_ylim() == bare
        assert "theory: t⁻⁹" in words(fig)

    def test_stacked_panels(self):
        fig = laid(
            curves(
                self.t,
                {
                    "loss (nats)": {"G": 1.0 / self.t, "D": 2.0 / self.t},
                    "norm": {"G": self.t - 1.0, "D": np.where(self.t == 5, np.nan, 1.0)},
                },
                "epoch",
                log=["norm"],
            )
        )
        assert [ax.get_yscale() for ax in fig.axes] == ["linear", "log"]
        assert fig.axes[1].get_xlabel() == "epoch"
        assert "2 values not finite or not positive, left out" in words(fig)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: convergence({}),
            lambda: convergence({"a": ([1, 2], [1])}),
            lambda: convergence({"a": ([1, 2],)}),  # type: ignore[dict-item]
            lambda: convergence({"a": ([0], [1])}),
            lambda: curves([1], {}),
            lambda: curves([1], {"a": {}}),
            lambda: curves([1], {"a": {"b": [1, 2]}}),
            lambda: curves([1], {"a": {"b": [1]}}, log=["c"]),
        ],
    )
    def test_refusals(self, make):
        with pytest.raises(InputError):
            make()


class TestAnimations:
    def test_paths_grow_and_the_counter_runs(self, tmp_path):
        rules = {"out": descend((1, 0), 30), "in": {"a": descend((1, 1), 12), "b": [[0.5, 0.5]]}}
        path = animations.animate_trajectories(FIELD, rules, tmp_path / "a.gif", frames=7, fps=5)
        assert path.stat().st_size < 3e6
        with Image.open(path) as gif:
            assert gif.n_frames == 7
            waits, frames = [], []
            for k in range(7):
                gif.seek(k)
                waits.append(gif.info["duration"])
                frames.append(np.asarray(gif.convert("RGB")).astype(int))
        assert waits == [200] * 6 + [2000]
        blue = np.array([0x00, 0x72, 0xB2])
        seen = [(np.abs(frame - blue).sum(axis=2) == 0).sum() for frame in frames]
        assert all(a <= b + 60 for a, b in pairwise(seen))  # the head may cover
        assert seen[-1] > 1.5 * seen[0]
        assert (frames[-1] == 255).all(axis=2).mean() > 0.5  # white stays white

    def test_the_last_frame_is_the_figure(self):
        rules = {"out": descend((1, 0), 30), "in": descend((1, 1), 12)}
        *_, last = animations._growing(*phase_scene(FIELD, rules), 3)
        whole = animations._render(phase_panels(FIELD, rules))
        assert whole.shape == last.shape
        different = (whole != last).any(axis=2)
        different[-60:, :160] = False  # the counter's corner
        assert different.mean() < 1e-3

    def test_orbits(self, tmp_path):
        path = animations.animate_orbits(
            {"a": cycle(), "b": cycle(9)}, tmp_path / "b.GIF", frames=4
        )
        with Image.open(path) as gif:
            assert (gif.n_frames, gif.info["loop"]) == (4, 0)

    def test_same_bytes(self, tmp_path):
        made = [
            animations.animate_orbits({"a": cycle()}, tmp_path / f"{k}.gif", frames=3).read_bytes()
            for k in range(2)
        ]
        assert made[0] == made[1]

    def test_whole_or_not_at_all(self, tmp_path):
        path = tmp_path / "a.gif"
        path.write_bytes(b"older")

        def fails():
            raise InputError("no figure")

        with pytest.raises(InputError, match="no figure"):
            animations.animate([canvas.sheet(1), fails], path)
        with pytest.raises(InputError, match="sizes"):
            animations.animate([canvas.sheet(1), canvas.sheet(2)], path)
        assert path.read_bytes() == b"older"
        assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]

    @pytest.mark.parametrize(
        "make",
        [
            lambda folder: animations.animate([], folder / "a.gif"),
            lambda folder: animations.animate([canvas.sheet(1)], folder / "a.png"),
            lambda folder: animations.animate([canvas.sheet(1)], folder / "a.gif", fps=0),
            lambda folder: animations.animate([canvas.sheet(1)], folder / "no" / "a.gif"),
            lambda folder: animations.animate_orbits({"a": cycle()}, folder / "a.gif", frames=1),
        ],
    )
    def test_refusals(self, make, tmp_path):
        with pytest.raises(InputError):
            make(tmp_path)


MAKERS = {
    "portrait": lambda: phase_portrait(velocity_grid(dirac, GRID, GRID), {"a": descend((1, 0), 9)}),
    "panels": lambda: phase_panels(FIELD, {str(k): descend((1, 0), k) for k in range(5)}),
    "spectrum": lambda: spectrum([-0.5, 0.5j]),
    "regions": lambda: spectrum_by_rule([0.5j], RADII, STEP),
    "radii": lambda: radius_curves([0.1, 0.5], {"a": [0.9, 1.1]}),
    "ternary": lambda: simplex.ternary({"a": cycle()}, heat=lambda p: p.max(axis=1)),
    "simplexes": lambda: simplex.ternary_panels({"a": cycle(), "b": cycle(), "c": cycle()}),
    "convergence": lambda: convergence({"a": ([1, 2], [1, 0])}, {"r": ([1, 2], [1, 1])}),
    "curves": lambda: curves([1, 2], {"a": {"b": [1, 2]}, "c": {"d": [1, 2]}}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_same_bytes_and_nothing_global(name, tmp_path):
    before = dict(matplotlib.rcParams)
    first, second = (canvas.save(MAKERS[name](), tmp_path / k, name) for k in "ab")
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", MAKERS)
def test_everything_written_lies_inside_the_figure(name):
    fig = laid(MAKERS[name]())
    whole = fig.get_tightbbox()
    assert whole.x0 > -0.02
    assert whole.y0 > -0.02
    assert whole.x1 < fig.get_figwidth() + 0.02
    assert whole.y1 < fig.get_figheight() + 0.02


def test_styles_do_not_rest_on_colour():
    for part in range(3):
        assert len({look[part] for look in canvas.STYLES}) == len(canvas.STYLES)
    assert len({canvas.style(k) for k in range(64)}) == 64


def test_pyplot_is_not_touched():
    code = (
        "import sys; from jensen.report import animate, curves, portrait, simplex, spectra\n"
        "curves.convergence({'a': ([1, 2], [1, 2])}); spectra.spectrum([1j])\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
