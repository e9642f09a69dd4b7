"use strict";
// Moves the threshold of the detector and works out its errors. Nothing is fetched.
(() => {
  const held = JSON.parse(document.querySelector("script.detector").textContent);
  const box = document.querySelector(".slider");
  const range = box.querySelector("input");
  const part = (name) => box.querySelector(`[data-part="${name}"]`);

  // log of k!, as far as it is asked for
  const logs = [0];
  const logFactorial = (k) => {
    while (logs.length <= k) logs.push(logs[logs.length - 1] + Math.log(logs.length));
    return logs[k];
  };

  // the distribution function of Beta(a, b) for whole a and b (DLMF 8.17.22, from the end)
  const below = (x, a, b) => {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - below(1 - x, b, a);
    let tail = 1;
    for (let m = Math.ceil(40 + 5 * Math.sqrt(a + b)); m >= 1; m--) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      tail = 1 + even / (1 + odd / tail);
    }
    const whole = logFactorial(a + b - 1) - logFactorial(a - 1) - logFactorial(b - 1);
    const front = Math.exp(whole + a * Math.log(x) + b * Math.log1p(-x)) / a;
    return front / (1 - ((a + b) * x) / (a + 1) / tail);
  };

  const quantile = (level, a, b) => {
    let low = 0;
    let high = 1;
    for (let i = 0; i < 60; i++) {
      const middle = 0.5 * (low + high);
      if (below(middle, a, b) < level) low = middle;
      else high = middle;
    }
    return 0.5 * (low + high);
  };

  // the exact 95% interval of k out of n (Clopper and Pearson)
  const interval = (k, n) => [
    k === 0 ? 0 : quantile(0.025, k, n - k + 1),
    k === n ? 1 : quantile(0.975, k + 1, n - k),
  ];

  // as the rest of the page writes percentages; exact halves go to the even digit
  const percent = (share) => {
    const points = 100 * share;
    if (points > 0 && points < 1) return `${Number(points.toPrecision(2))}%`;
    const tenths = Math.floor(10 * points);
    const half = Number.isInteger(4 * points) && 10 * points - tenths === 0.5;
    return `${half ? (tenths + (tenths % 2)) / 10 : Number(points.toFixed(1))}%`;
  };

  const sums = (more) => {
    let total = 0;
    return more.map((count) => (total += count));
  };
  const flagged = {
    normal: sums(held.flagged.normal.more),
    anomalies: sums(held.flagged.anomalies.more),
  };

  const tell = (name, k, n, what) => {
    if (n === 0) return "";
    const [low, high] = interval(k, n);
    part(name).textContent = percent(k / n);
    part(`${name}-span`).textContent = `95% interval ${percent(low)} to ${percent(high)}`;
    part(`${name}-count`).textContent =
      `${k.toLocaleString("en")} of ${n.toLocaleString("en")} ${what}`;
    return percent(k / n);
  };

  const show = () => {
    const at = Number(range.value);
    const alpha = percent(held.alphas[at]);
    const threshold = held.thresholds[at];
    part("alpha").textContent = alpha;
    part("threshold").textContent = `threshold ${threshold} nats`;
    part("shade").setAttribute("width", 10 * held.places[at]);
    part("line").setAttribute("x1", 10 * held.places[at]);
    part("line").setAttribute("x2", 10 * held.places[at]);
    const normal = held.flagged.normal.n;
    const one = tell("one", flagged.normal[at], normal, "normal rows flagged");
    const anomalies = held.flagged.anomalies.n;
    const caught = flagged.anomalies[at];
    const two = tell("two", anomalies - caught, anomalies, "anomalies missed");
    range.setAttribute(
      "aria-valuetext",
      [`alpha ${alpha}`, `threshold ${threshold}`, one && `type I ${one}`, two && `type II ${two}`]
        .filter(Boolean)
        .join(", "),
    );
  };

  range.addEventListener("input", show);
  document.documentElement.classList.add("live");
  show();
})();
