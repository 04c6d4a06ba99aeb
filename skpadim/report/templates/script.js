"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Numbers: infinite scores come as text, those of photos that could not be read as null.
  const scores = data.scores.map((score) => (score === null ? NaN : Number(score)));
  const loo = data.loo.map(Number);
  const show = (value) => String(Number(value.toPrecision(4)));
  const isKnownGood = (number) => data.roles[data.rows[number]] === "good";
  const isDefective = (number) => data.roles[data.rows[number]] === "defect";
  const mistakeOf = (number) =>
    isMissed(number) ? "missed" : isFalseAlarm(number) ? "false alarm" : "";
  const isMissed = (number) => isDefective(number) && verdictOf(number) === "good";
  const isFalseAlarm = (number) => isKnownGood(number) && verdictOf(number) === "anomaly";
  const verdictOf = (number) =>
    data.scores[number] === null ? "error" : scores[number] > threshold ? "anomaly" : "good";
  let threshold = data.threshold;

  // The axis, as the page was drawn with it.
  const scale = data.axis.isLog ? Math.log : (value) => value;
  const unscale = data.axis.isLog ? Math.exp : (value) => value;
  const [low, high] = [scale(data.axis.low), scale(data.axis.high)];
  const placeOf = (score) =>
    (scale(Math.min(Math.max(score, data.axis.low), data.axis.high)) - low) / (high - low);
  const scoreAt = (place) => unscale(low + Math.min(Math.max(place, 0), 1) * (high - low));

  const line = byId("line");
  const field = byId("threshold");
  const area = line.parentElement;
  const cards = all("#gallery > .card");
  const cells = all("[data-verdict]");

  function count() {
    const above = data.roles.map(() => 0);
    const below = data.roles.map(() => 0);
    const counts = { good: 0, anomalies: 0, missed: 0, falseAlarms: 0 };
    scores.forEach((score, number) => {
      if (data.scores[number] === null) return;
      const isAbove = score > threshold;
      counts[isAbove ? "anomalies" : "good"] += 1;
      if (isAbove && isKnownGood(number)) counts.falseAlarms += 1;
      if (!isAbove && isDefective(number)) counts.missed += 1;
      (isAbove ? above : below)[data.rows[number]] += 1;
    });
    counts.looAbove = loo.filter((score) => score > threshold).length;
    above[0] = counts.looAbove;
    counts.expected = Number(((100 * (counts.looAbove + 1)) / (loo.length + 1)).toPrecision(3));
    return { above, below, counts };
  }

  function put(attribute, values) {
    for (const place of all(`[data-${attribute}]`)) {
      const value = values[place.dataset[attribute]];
      if (value !== undefined) place.textContent = value;
    }
  }

  function describe(counts) {
    const has = (name) => document.querySelector(`[data-count="${name}"]`) !== null;
    const parts = [`threshold ${show(threshold)}`, `${counts.anomalies} anomalies`];
    if (has("missed")) parts.push(`${counts.missed} defects missed`);
    if (has("falseAlarms")) parts.push(`${counts.falseAlarms} false alarms`);
    return parts.join(", ");
  }

  // What the threshold decides: the line, the counts, and every photo's verdict.
  function moveTo(value, { keepField = false } = {}) {
    threshold = value;
    const { above, below, counts } = count();
    const percent = `${100 * placeOf(threshold)}%`;
    line.style.left = percent;
    document.querySelector(".beyond").style.left = percent;
    line.querySelector("span").textContent = show(threshold);
    line.setAttribute("aria-valuenow", threshold);
    line.setAttribute("aria-valuetext", describe(counts));
    if (!keepField) field.value = Number(threshold.toPrecision(6));
    byId("reset").disabled = byId("moved").hidden = threshold === data.threshold;
    put("count", counts);
    put("above", above);
    put("below", below);
    schedule();
  }

  // Verdicts of many photos wait for the next frame, so that dragging stays smooth.
  let waiting = false;
  function schedule() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const card of cards) {
        const verdict = verdictOf(card.dataset.number);
        if (card.classList.contains(verdict)) continue;
        card.classList.remove("good", "anomaly");
        card.classList.add(verdict);
        card.querySelector(".verdict b").textContent = verdict;
        const mistake = card.querySelector(".mistake");
        if (mistake) mistake.textContent = mistakeOf(card.dataset.number);
      }
      for (const cell of cells) {
        const verdict = verdictOf(cell.dataset.verdict);
        if (cell.textContent !== verdict) cell.textContent = verdict;
      }
      filter();
    });
  }

  line.tabIndex = 0;
  line.setAttribute("role", "slider");
  line.setAttribute("aria-label", "Threshold");
  line.setAttribute("aria-valuemin", data.axis.low);
  line.setAttribute("aria-valuemax", data.axis.high);

  const placeAt = (event) => {
    const box = area.getBoundingClientRect();
    return (event.clientX - box.left) / box.width;
  };
  let grip = null; // how far from the line it was taken
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const onLine = line.contains(event.target);
    if (!onLine && event.pointerType === "touch") return; // a finger that scrolls
    grip = onLine ? placeAt(event) - placeOf(threshold) : 0;
    area.setPointerCapture(event.pointerId);
    line.focus({ preventScroll: true });
    event.preventDefault();
    if (!onLine) moveTo(scoreAt(placeAt(event)));
  });
  area.addEventListener("pointermove", (event) => {
    if (grip !== null) moveTo(scoreAt(placeAt(event) - grip));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    area.addEventListener(end, () => { grip = null; });
  }
  line.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.05 : 0.005;
    const moves = { ArrowRight: step, ArrowUp: step, ArrowLeft: -step, ArrowDown: -step, PageUp: 0.05, PageDown: -0.05 };
    if (event.key === "Home") moveTo(data.axis.low);
    else if (event.key === "End") moveTo(data.axis.high);
    else if (event.key in moves) moveTo(scoreAt(placeOf(threshold) + moves[event.key]));
    else return;
    event.preventDefault();
  });
  field.addEventListener("input", () => {
    if (field.value !== "" && Number.isFinite(field.valueAsNumber)) moveTo(field.valueAsNumber, { keepField: true });
  });
  field.addEventListener("change", () => moveTo(threshold));
  byId("reset").addEventListener("click", () => { moveTo(data.threshold); line.focus(); });

  // The gallery.
  const kind = byId("kind");
  const isWanted = {
    all: () => true,
    anomaly: (number) => verdictOf(number) === "anomaly",
    good: (number) => verdictOf(number) === "good",
    error: (number) => verdictOf(number) === "error",
    unusual: (number) => data.unusual[number] === 1,
    missed: isMissed,
    falseAlarm: isFalseAlarm,
  };
  function filter() {
    const wanted = isWanted[document.querySelector("[name=filter]:checked").value];
    const text = byId("search").value.trim().toLowerCase();
    let n = 0;
    for (const card of cards) {
      const fits =
        wanted(card.dataset.number) &&
        (!kind || kind.value === "" || card.dataset.kind === kind.value) &&
        card.dataset.path.toLowerCase().includes(text);
      card.hidden = !fits;
      n += fits;
    }
    byId("showing").textContent = `Showing ${n} of ${cards.length} photos.`;
  }
  function sort() {
    const by = byId("sort").value;
    const last = (number) => (data.scores[number] === null ? 1 : 0);
    const order = {
      score: (a, b) => scores[b] - scores[a],
      lowest: (a, b) => scores[a] - scores[b],
    }[by];
    const sorted = cards.slice().sort((a, b) => {
      if (!order) return a.dataset.path.localeCompare(b.dataset.path, undefined, { numeric: true });
      const [first, second] = [a.dataset.number, b.dataset.number];
      return last(first) - last(second) || order(first, second) || 0;
    });
    byId("gallery").append(...sorted);
  }
  for (const radio of all("[name=filter]")) radio.addEventListener("change", filter);
  kind?.addEventListener("change", filter);
  byId("search").addEventListener("input", filter);
  byId("sort").addEventListener("change", sort);
  byId("fade").addEventListener("input", (event) => {
    byId("gallery").style.setProperty("--fade", event.target.value / 100);
  });

  // One photo, enlarged.
  const viewer = byId("viewer");
  let current = null;
  const visible = () => all("#gallery > .card").filter((card) => !card.hidden && card.querySelector(".open"));
  function enlarge(card) {
    current = card;
    byId("viewer-name").textContent = card.dataset.path;
    const stack = card.querySelector(".stack").cloneNode(true);
    byId("viewer-photo").replaceChildren(stack);
    const facts = all(":scope > p, :scope > details", card).map((part) => part.cloneNode(true));
    for (const part of facts) if (part.tagName === "DETAILS") part.open = true;
    byId("viewer-facts").className = card.classList.contains("anomaly") ? "anomaly" : "";
    byId("viewer-facts").replaceChildren(...facts);
    if (!viewer.open) {
      byId("viewer-fade").value = byId("fade").value;
      viewer.showModal();
    }
    fadeOne();
  }
  function fadeOne() {
    byId("viewer-photo").style.setProperty("--fade", byId("viewer-fade").value / 100);
  }
  function step(by) {
    const there = visible();
    const next = there[there.indexOf(current) + by];
    if (next) enlarge(next);
  }
  byId("gallery").addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (button) enlarge(button.closest(".card"));
  });
  byId("viewer-fade").addEventListener("input", fadeOne);
  for (const what of ["outlines", "boxes"]) {
    byId(what).addEventListener("change", (event) => {
      byId("viewer-photo").classList.toggle(`no-${what}`, !event.target.checked);
    });
  }
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { current?.querySelector(".open").focus(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target.type === "range") return; // whose arrows fade
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });

  // On paper everything is open, and closed again afterwards.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const part of opened) part.open = true;
  });
  window.addEventListener("afterprint", () => { for (const part of opened) part.open = false; });

  moveTo(threshold);
})();
