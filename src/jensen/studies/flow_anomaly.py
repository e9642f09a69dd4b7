r"""Anomalies by the likelihood of a flow: the textbook's threshold, and one that holds.

A flow p is trained on digits. An image is an anomaly where its log-likelihood is low,

    textbook       log p(x) < m - 3 s,  m and s of the log p of held-out digits
    calibrated     (1 + #{held-out log p ≤ log p(x)}) / (n + 1) ≤ α

and there are two errors: type I, a digit that is flagged, and type II, an anomaly that is not. The
document takes MNIST for normal and KMNIST for anomalies; where a data folder does not have both the
embedded 8 × 8 digits stand in, and a quarter turn of a digit is the anomaly.

m - 3 s promises no rate. A normal law would flag 0.13%; all that holds for every law is Cantelli's
P(log p < m - 3 s) ≤ 1/10. The calibrated rule flags α of new digits, whatever the law, averaged
over sets of held-out digits.

As in the document, m and s and the calibrated scores are those of one half of the test digits, at
random, and the errors are counted on the other. Held-out *training* digits would not do: people
who wrote MNIST's training digits did not write its test digits, the two are not of one law, and the
rate that the calibrated rule promises is then missed. The study says by how much.

Source: the course document's problem 3; Cantelli's inequality; Vovk et al. 2005 (second rule).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.errors import auroc, binomial_interval, roc_curve
from jensen.anomaly.rules import MeanSigma, Rule, SplitConformal
from jensen.bijections.pixels import Histogram, chosen_smoothing
from jensen.data.schema import Schema, read
from jensen.data.source import open_table
from jensen.data.split import Split, split_rows
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Result
from jensen.evaluation.likelihood import mean_and_error
from jensen.fitting import DensityFit, Recipe, family_named
from jensen.fitting.images import level_counts
from jensen.models.families import FlowOptions
from jensen.report.curves import curves
from jensen.report.detection import roc, score_histogram
from jensen.report.latents import image_samples
from jensen.studies.digits import absent, idx_file, idx_folder, image_rows
from jensen.studies.notebook import Notebook

FAR = 4.0  # standard errors: a true statement fails by chance once in 16,000 runs
K = 3.0
ALPHAS = (0.01, 0.05, 0.1)
STATED = 0.05
RULES: dict[str, Rule] = {"mean - 3 s": MeanSigma(K), "calibrated": SplitConformal()}


@dataclass(frozen=True)
class Images:
    """Normal images, anomalies, and how a flow is trained on the first.

    Attributes:
        train: `(n, H, W)` whole grey levels.
        test: `(t, H, W)` normal images that nothing is chosen by.
        odd: `(a, H, W)` anomalies.
        name: of the data, in words.
        layers: couplings of each level.
        width: of the networks.
        epochs: passes over the training images.
    """

    train: np.ndarray
    test: np.ndarray
    odd: np.ndarray
    name: str
    layers: int
    width: int
    epochs: int


@dataclass(frozen=True)
class Fitted:
    """A flow, the rows it was trained on, and the log-likelihoods by which it judges.

    Attributes:
        model: the flow, its Gaussian baseline and the held-out scores.
        result: of the training.
        schema: the pixels.
        matrix: all training images `(n, D)`.
        split: which of them train, stop and calibrate.
        test: log p of the test images `(t,)`, nats.
        calibration: log p of one half of them, taken at random.
        normal: log p of the other half `(t - t//2,)`.
        odd: log p of the anomalies `(a,)`, nats.
    """

    model: DensityFit
    result: Result
    schema: Schema
    matrix: np.ndarray
    split: Split
    test: np.ndarray
    calibration: Conformal
    normal: np.ndarray
    odd: np.ndarray


def study(book: Notebook) -> None:
    """Train a flow on digits, flag anomalies by two rules, and count both errors."""
    images = load(book)
    book.used = images.name
    fitted = train_flow(images, book.seed)
    _likelihood(book, images, fitted)
    errors = {name: rule_errors(rule, fitted) for name, rule in RULES.items()}
    _textbook(book, errors["mean - 3 s"], fitted)
    _calibrated(book, fitted)
    _apart(book, fitted, errors)
    _draw(book, images, fitted, errors)


def load(book: Notebook) -> Images:
    """Return MNIST and KMNIST where the data folder has both; else digits and quarter turns."""
    digits = idx_folder(book.data, "mnist", ("train", "t10k"))
    kana = idx_folder(book.data, "kmnist_test", ("t10k",))
    if digits is None or kana is None or digits == kana:
        missing = "MNIST" if digits is None else "KMNIST"
        book.remark(
            f"{absent(book.data, missing)}: these figures are of the embedded 8 x 8 digits, and the"
            " anomalies are digits turned by a quarter"
        )
        train, test = (_stack(*image_rows(f"digits:{part}")) for part in ("train", "test"))
        name = "embedded: 8 x 8 digits against their quarter turns (MNIST or KMNIST is absent)"
        layers, epochs = (2, 40) if book.quick else (4, 200)
        return Images(train, test, np.rot90(test, axes=(1, 2)), name, layers, 32, epochs)
    wanted, tested = (4000, 500) if book.quick else (None, None)
    paths = idx_file(digits, "train"), idx_file(digits, "t10k"), idx_file(kana, "t10k")
    train, test, odd = (
        _stack(*image_rows(path, n)).astype(np.uint8)
        for path, n in zip(paths, (wanted, tested, tested), strict=True)
    )
    if book.quick:
        book.remark("quick: 4,000 training images and a small flow; the full form takes them all")
        return Images(train, test, odd, "MNIST (4,000 images) against KMNIST", 1, 32, 4)
    return Images(train, test, odd, "MNIST against KMNIST", 6, 64, 5)


def _stack(rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return rows.reshape(-1, *shape)


def train_flow(images: Images, seed: int) -> Fitted:
    """Return the flow trained on the images, and its log p of test images and anomalies."""
    schema, matrix = read(open_table(images.train))
    optimisation = Optimisation(batch_size=128, learning_rate=2e-3, ema=0.999)
    training = Training(images.epochs, optimisation, evaluate_every=1)
    options = FlowOptions("multiscale", n_layers=images.layers, width=images.width)
    family, recipe = family_named("flow"), Recipe(options, training)
    schema = family.columns(schema, recipe)
    split = split_rows(len(matrix), seed, calibrate=True)
    recipe = family.chosen_for(recipe, schema, len(split.train))
    model, result = family.fit(schema, matrix, recipe, seed=seed, split=split)
    flat = [stack.reshape(len(stack), -1).astype(np.float64) for stack in (images.test, images.odd)]
    test, odd = (model.density.log_prob(rows)[0] for rows in flat)
    mixed = np.random.default_rng(seed).permutation(test)
    held, normal = np.split(mixed, [len(test) // 2])
    return Fitted(model, result, schema, matrix, split, test, Conformal(held), normal, odd)


def independent_log_prob(train: np.ndarray, rows: np.ndarray, levels: int) -> np.ndarray:
    """Return log p `(n,)` of rows `(n, D)` by the model of independent pixels, nats.

    Args:
        train: the rows it is made of `(N, D)`.
        rows: the rows it is asked for.
        levels: L.
    """
    counts = level_counts(train, levels)
    histogram = Histogram(jnp.asarray(counts), *map(jnp.asarray, chosen_smoothing(counts)))
    log_p = np.log(np.asarray(histogram.probabilities(), np.float64))
    return log_p[rows.astype(int), np.arange(rows.shape[1])].sum(axis=1)


def _likelihood(book: Notebook, images: Images, fitted: Fitted) -> None:
    """What the flow begins as, and what it learned."""
    train, held = (fitted.matrix[rows] for rows in (fitted.split.train, fitted.split.validation))
    levels = 256 if images.train.dtype == np.uint8 else int(images.train.max()) + 1
    start = -independent_log_prob(train, held, levels).mean()
    book.equal(
        "starts-as-independent-pixels",
        "-log p of the held-out digits before the first step, against the counts of independent"
        " pixels (nats per image): nothing is lost to dequantisation; rounding of a sum of all"
        " pixels in float32",
        fitted.result.metrics[0]["validation_loss_member_0"],
        start,
        1e-4 * start,
    )
    test = images.test.reshape(len(images.test), -1).astype(np.float64)
    for name, base in (
        ("independent pixels", independent_log_prob(train, test, levels)),
        ("a Gaussian", fitted.model.baseline.log_prob(test)),
    ):
        gain, error = mean_and_error(fitted.test - base)
        book.at_least(
            f"ahead-of-{name.split()[-1]}",
            f"log p of the flow less that of {name}, test digits, in standard errors",
            gain / error,
            FAR,
        )
    per_pixel = test.shape[1] * np.log(2.0)
    mean, error = mean_and_error(fitted.test)
    book.remark(
        f"test digits: {-mean / per_pixel:.4f} ± {error / per_pixel:.4f} bits per pixel (a bound,"
        f" {fitted.model.density.n_points} points a pixel); independent pixels"
        f" {-independent_log_prob(train, test, levels).mean() / per_pixel:.4f}"
    )


def rule_errors(rule: Rule, fitted: Fitted, alpha: float = STATED) -> tuple[int, int]:
    """Return how many digits a rule flags, and how many anomalies it does not.

    Args:
        rule: the rule.
        fitted: the scores that set the threshold, and those to judge.
        alpha: α, for rules that ask for it.
    """
    threshold = rule.threshold(fitted.calibration, alpha)
    return int(np.sum(fitted.normal <= threshold)), int(np.sum(fitted.odd > threshold))


def _stated(k: int, n: int) -> str:
    low, high = binomial_interval(k, n)
    return f"{k / n:.2%} ({k:,} of {n:,}; 95% interval {low:.2%} to {high:.2%})"


def _textbook(book: Notebook, errors: tuple[int, int], fitted: Fitted) -> None:
    """The rule of the document: mean minus three standard deviations."""
    calibration, n = fitted.calibration, len(fitted.normal)
    scores = calibration.scores
    book.equal(
        "textbook-threshold",
        "the threshold against m - 3 s of the held-out log p by numpy, nats; rounding",
        RULES["mean - 3 s"].threshold(calibration, STATED),
        float(np.mean(scores) - K * np.std(scores, ddof=1)),
        1e-9 * abs(float(np.mean(scores))),
    )
    bound = 1 / (1 + K**2)
    book.at_most(
        "textbook-cantelli",
        "type I error of m - 3 s against Cantelli's bound, which holds for every law (tolerance:"
        " 4 standard errors of the counts)",
        errors[0] / n,
        bound,
        FAR * np.sqrt(bound * (1 - bound) * (1 / n + 1 / len(scores))),
    )
    skew = float(np.mean(((scores - scores.mean()) / scores.std()) ** 3))
    book.remark(
        f"m - 3 s: type I {_stated(errors[0], n)}, where a normal law gives 0.13% (the held-out"
        f" scores have a skewness of {skew:.2f}); type II {_stated(errors[1], len(fitted.odd))}"
    )


def _calibrated(book: Notebook, fitted: Fitted) -> None:
    """The rule of `jensen detect`, at several rates."""
    n, found, calibration = len(fitted.normal), [], fitted.calibration
    for alpha in ALPHAS:
        one, two = rule_errors(RULES["calibrated"], fitted, alpha)
        found.append((one / n, two / len(fitted.odd)))
        spread = np.sqrt(alpha * (1 - alpha) * (1 / n + 1 / (calibration.n + 2)))
        book.equal(
            f"calibrated-{alpha:g}",
            f"type I error at a stated {alpha:.0%} (tolerance: 4 standard errors of the counts of"
            " both halves)",
            one / n,
            alpha,
            FAR * spread,
        )
        book.remark(
            f"calibrated at {alpha:.0%}: type I {_stated(one, n)}, type II"
            f" {_stated(two, len(fitted.odd))}"
        )
    other = int(np.sum(fitted.test <= fitted.model.conformal.threshold(STATED)))
    book.remark(
        f"calibrated at {STATED:.0%} on training digits kept from training: type I"
        f" {_stated(other, len(fitted.test))}; these digits are of another law than the test digits"
        " where the interval misses the stated rate"
    )
    first, second = np.diff(np.array(found), axis=0).T
    book.true(
        "errors-trade",
        "a higher stated rate flags no fewer digits and misses no more anomalies",
        (first >= 0).all() and (second <= 0).all(),
    )
    alone = fitted.model.density.log_prob(fitted.matrix[:3])[0]
    together = fitted.model.density.log_prob(fitted.matrix[:40])[0][:3]
    book.equal(
        "scores-stand-alone",
        "scores of three images alone against the same among 40, largest difference, nats",
        np.abs(alone - together).max(),
        0.0,
        0.0,
    )


def _apart(book: Notebook, fitted: Fitted, errors: dict[str, tuple[int, int]]) -> None:
    """Digits and anomalies are told apart, and the ROC holds both rules."""
    area, error = auroc(fitted.normal, fitted.odd)
    book.at_least(
        "told-apart",
        "area under the ROC: an anomaly scores below a digit more often than not (tolerance: minus"
        " 4 standard errors)",
        area - FAR * error,
        0.5,
    )
    fpr, tpr = roc_curve(fitted.normal, fitted.odd)
    gaps = [
        np.min(np.abs(fpr - one / len(fitted.normal)) + np.abs(tpr - 1 + two / len(fitted.odd)))
        for one, two in errors.values()
    ]
    book.at_most(
        "roc-holds-the-rules",
        "distance of each rule's two errors from the ROC curve, the largest; rounding",
        max(gaps),
        0.0,
        1e-12,
    )
    book.remark(f"area under the ROC {area:.4f} ± {error:.4f}")


def _draw(
    book: Notebook, images: Images, fitted: Fitted, errors: dict[str, tuple[int, int]]
) -> None:
    calibration, (one, two) = fitted.calibration, errors["mean - 3 s"]
    threshold = RULES["mean - 3 s"].threshold(calibration, STATED)
    nominal = 0.00135
    figure = score_histogram(calibration.scores, fitted.normal, fitted.odd, threshold, nominal)
    book.figure(figure, "flow-anomaly-scores")
    area, error = auroc(fitted.normal, fitted.odd)
    point = one / len(fitted.normal), 1 - two / len(fitted.odd)
    span = area - 1.96 * error, min(area + 1.96 * error, 1.0)
    book.figure(roc(*roc_curve(fitted.normal, fitted.odd), area, span, point), "flow-anomaly-roc")
    shape = images.test.shape[1:]
    drawn = fitted.schema.decode(fitted.model.density.sample(24, book.seed))
    samples = np.stack([np.asarray(c, np.float64) for c in drawn.values()], axis=1)
    lowest = np.argsort(fitted.test)[:24]
    groups = {
        "samples": samples.reshape(-1, *shape),
        "lowest digits": images.test[lowest],
        "anomalies": images.odd[:24],
    }
    book.figure(image_samples(images.test[:24], groups), "flow-anomaly-images")
    metrics = fitted.result.metrics
    scale = np.log(2.0) * np.prod(shape)
    lines = {
        "training": np.array([row["train_loss_member_0"] for row in metrics[1:]]) / scale,
        "held out": np.array([row["validation_loss_member_0"] for row in metrics[1:]]) / scale,
    }
    steps = np.array([row["step"] for row in metrics[1:]])
    book.figure(
        curves(
            steps,
            {"bits per pixel (one draw of noise)": lines},
            xlabel="step",
            title="What the flow learns",
        ),
        "flow-anomaly-training",
    )
