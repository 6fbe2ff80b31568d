"use strict";
// One service: its card among the others, and the same card alone as its own page.
// `changing` shows and ends overrides, `causes()` returns what befalls several services by message,
// `now()` the moment of the latest tick, and `daemon()` what does not change while the daemon runs.
const makeCards = ({ services, changing, causes, now, daemon }) => {
  const perSecond = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
  const rate = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const HEADS = { error: "Error", warning: "Warning", drain: "Draining" };
  const cards = new Map();      // key -> the parts of its card in the document
  let alone = null;             // the key of the service that is shown alone

  const onScreen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = cards.get(entry.target.dataset.key);
      if (!card) continue;
      card.visible = entry.isIntersecting;
      if (card.visible) draw(entry.target.dataset.key);
    }
  }, { rootMargin: "200px" });

  function newCard(key) {
    const root = $("card").content.firstElementChild.cloneNode(true);
    const parts = {};
    for (const node of root.querySelectorAll("[data-part]")) {
      parts[node.dataset.part] = node;
      node.removeAttribute("data-part");
    }
    root.dataset.key = key;
    const card = { root, parts, visible: false };
    parts.name.href = linkTo(services.get(key));
    parts.change.addEventListener("click", () => changing.open(services.get(key)));
    parts.details.addEventListener("toggle", () => showDetails(key));
    cards.set(key, card);
    onScreen.observe(root);
    return card;
  }

  function show(key) {
    const one = services.get(key);
    const card = cards.get(key) ?? newCard(key);
    const part = card.parts;
    const [kind, word] = state(one, now());
    text(part.name, one.service);
    part.badge.dataset.state = kind;
    text(part.badge, word);
    part.mode.hidden = !one.dry_run;
    text(part.queues, one.queues.join(", "));
    text(part.backlog, one.backlog === null ? "unknown" : count.format(one.backlog));
    part.backlog.classList.toggle("unknown", one.backlog === null);
    part.backlog.classList.toggle("zero", one.backlog === 0);
    part["backlog-unit"].hidden = one.backlog === null;
    text(part["backlog-unit"], one.shared_with.length ? `of ${count.format(one.whole_backlog)} waiting` : "waiting");
    text(part.age, one.backlog === null ? "backlog" : !one.backlog ? "" : one.age === null ? "age unknown" : `oldest for ${duration(one.age)}`);
    showReplicas(part, one);
    text(part.why, one.why.join(" · "));
    part.why.hidden = !one.why.length;
    changing.show(part, one);
    text(part.schedule, one.next_bounds?.text ?? "");
    part.schedule.hidden = !one.next_bounds;
    showTroubles(part, one, key === alone);
    const last = one.changes.at(-1);
    text(part.summary, last ? `Last change ${timeOfDay(last.at)}, ${step(last.current, last.desired)}` : "Details");
    part.details.hidden = !last && ![one.reasons, one.parts, Object.keys(one.values)].some((list) => list.length);
    showDetails(key);
    draw(key);
  }

  function showReplicas(part, one) {
    const moving = one.desired !== one.replicas;
    const [replicas, desired] = [one.replicas, one.desired].map((number) => count.format(number));
    const now = moving ? `${replicas}→${desired}` : replicas;
    if (part.replicas.dataset.now !== now) {
      part.replicas.dataset.now = now;
      part.replicas.replaceChildren(
        replicas,
        ...(moving ? [make("span", " → ", { class: "to" }), desired] : []),
      );
    }
    text(part["replicas-unit"], moving ? (one.dry_run ? "would be wanted" : "wanted") : plural(one.replicas, "replica", "replicas"));
    const notes = [];
    if (one.max !== null) notes.push(`min ${count.format(one.min)}, max ${count.format(one.max)}`);
    if (one.busy !== null) notes.push(`${count.format(one.busy)} busy`);
    if (one.draining) notes.push(`${count.format(one.draining)} draining`);
    text(part.range, notes.join(" · "));
    const most = Math.max(one.max ?? 0, one.replicas, one.desired, 1);
    const share = (number) => `${(100 * number) / most}`;
    part["bar-now"].setAttribute("width", share(one.replicas));
    part["bar-busy"].setAttribute("width", share(Math.min(one.busy ?? 0, one.replicas)));
    part["bar-wanted"].setAttribute("x", `${Math.min(99, (100 * one.desired) / most)}`);
  }

  // What a banner says for several services is not said again here, unless the service is alone.
  function showTroubles(part, one, whole) {
    const told = (words) => !whole && causes().has(words);
    const unseen = one.unseen && (whole || !causes().size);
    const troubles = [
      ...(unseen ? [["error", "The engine did not answer for this service at the latest look; this is what was seen before."]] : []),
      ...one.drains.map(({ replica, text }) => ["drain", `${replica}: ${text}`]),
      ...one.errors.filter((words) => !told(words)).map((words) => ["error", words]),
      ...one.warnings.filter((words) => !told(words)).map((words) => ["warning", words]),
    ];
    part.common.hidden = ![...one.errors, ...one.warnings].some(told) && !(one.unseen && !unseen);
    const list = part.troubles;
    const content = JSON.stringify(troubles);
    if (list.dataset.shown === content) return;
    list.dataset.shown = content;
    list.hidden = !troubles.length;
    list.replaceChildren(...troubles.map(([kind, words]) =>
      make("li", [make("b", HEADS[kind]), words], { "data-kind": kind })));
  }

  function showDetails(key) {
    const one = services.get(key), part = cards.get(key)?.parts;
    if (!part?.details.open || !one) return;
    part["steps-box"].hidden = !one.reasons.length;
    part.steps.replaceChildren(...one.reasons.map(({ text, code, bearing }) =>
      make("li", [text, " ", make("code", code)], { "data-bearing": bearing })));
    text(part.decided, `So ${count.format(one.desired)} ${plural(one.desired, "replica is", "replicas are")} wanted, and there ${plural(one.replicas, "is", "are")} ${count.format(one.replicas)} now.`);
    part["changes-box"].hidden = !one.changes.length;
    part.changes.replaceChildren(...one.changes.toReversed().map(changeItem));
    part["parts-box"].hidden = !one.parts.length;
    text(part["parts-title"], one.throughput === null
      ? "Task queues"
      : `Task queues · a busy replica does ${perSecond.format(one.throughput)} tasks a second`);
    part.parts.replaceChildren(...one.parts.map((row) => make("tr", [
      make("th", row.queue, { scope: "row" }),
      make("td", row.type + (row.rate_limited ? ", rate limited" : "")),
      ...[
        count.format(row.waiting), row.waiting && row.age !== null ? duration(row.age) : "–",
        rate.format(row.add_rate), rate.format(row.dispatch_rate), count.format(row.pollers),
      ].map((value) => make("td", value, { class: "r" })),
    ])));
    showValues(part, one, key === alone);
  }

  // Alone, a service shows its defaults too.
  function showValues(part, one, whole) {
    const defaults = Object.entries(daemon().defaults).map(([name, value]) => [name, { value, origin: "default" }]);
    const known = Object.keys(one.values).length > 0;
    const values = Object.entries(whole && known ? { ...Object.fromEntries(defaults), ...one.values } : one.values);
    part["values-box"].hidden = !values.length;
    part.values.replaceChildren(...values.map(([name, { value, origin }]) => make("tr", [
      make("th", name, { scope: "row" }), make("td", value), make("td", origin),
    ], origin === "default" ? { class: "default" } : {})));
  }

  function draw(key) {
    const card = cards.get(key), one = services.get(key);
    if (card?.visible && one && now()) drawPlot(card.parts, one, now());
  }

  function drop(key) {
    onScreen.unobserve(cards.get(key).root);
    cards.get(key).root.remove();
    cards.delete(key);
  }

  // Shows one service alone with all its details, or none alone (null).
  function showAlone(key) {
    for (const [each, card] of cards) {
      if (each !== key && each !== alone) continue;
      card.root.classList.toggle("alone", each === key);
      card.parts.details.open = each === key;
    }
    const before = alone;
    alone = key;
    for (const each of [before, key]) if (cards.has(each)) show(each);
  }

  return { all: cards, show, draw, drop, showAlone };
};

function changeItem(change) {
  return make("li", [
    clock(change.at),
    make("span", step(change.current, change.desired), { class: "step" }),
    make("span", change.reasons.join(" · "), { class: "because" }),
  ]);
}

// The address of a service's own page, within this page. /services/... leads here.
function linkTo({ orchestrator, service }) {
  return `#/${[orchestrator, ...service.split("/")].map(encodeURIComponent).join("/")}`;
}
