"use strict";
// The page of a running daemon. It opens one stream, keeps the services in a Map and writes them into
// the document: only as text and attributes, never as markup.
(() => {
  const SPAN = 3600;            // seconds that a plot shows
  const SILENCE = 30_000;       // ms without a byte after which the daemon counts as lost
  const RETRY = 2_000;          // ms between two attempts to reach the daemon
  const FEED = 8;               // how many latest changes of all services are listed

  const $ = (id) => document.getElementById(id);
  const count = new Intl.NumberFormat("en");
  const perSecond = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
  const rate = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const byName = new Intl.Collator("en", { numeric: true });
  const services = new Map();   // key -> the service as the daemon sent it, with its trail
  const cards = new Map();      // key -> the parts of its card in the document
  let daemon = null;            // what does not change while the daemon runs
  let tick = null;              // what the latest tick said apart from its services
  let tickedAt = 0;             // when the latest tick came in, in ms of this page's clock
  let lost = null;              // why the daemon does not answer; null while it does
  let token = sessionStorage.getItem("token");
  const changing = makeChanging({ token: () => token, changeable: () => daemon?.changeable, text, make, duration });

  // ---------------------------------------------------------------- helpers

  function text(node, value) {
    if (node.textContent !== value) node.textContent = value;
  }

  function make(tag, content, attributes = {}) {
    const node = document.createElement(tag);
    if (content !== undefined) node.append(...[content].flat());
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  }

  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 172_800) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
    return `${Math.floor(whole / 86_400)} days`;
  }

  function clock(seconds) {
    const at = new Date(seconds * 1000);
    return make("time", at.toLocaleTimeString("en-GB"), { datetime: at.toISOString() });
  }

  function plural(number, one, many) {
    return number === 1 ? one : many;
  }

  // ---------------------------------------------------------------- the state of a service

  function isChanging(one) {
    return one.desired !== one.replicas || one.draining > 0;
  }

  function isTroubled(one) {
    return one.errors.length + one.warnings.length > 0 || one.unseen;
  }

  function isLeftAlone(one) {
    return one.reasons.some(({ code }) => ["off", "refused", "stopped-by-hand"].includes(code));
  }

  function state(one) {
    if (one.unseen) return ["error", "Not seen"];
    if (one.errors.length) return ["error", "Error"];
    if (one.overrides.some(({ name, value }) => name === "mode" && value === "off")) return ["warning", "Paused"];
    if (isLeftAlone(one)) return ["", "Left alone"];
    if (one.desired > one.replicas) return ["out", "Scaling out"];
    if (one.desired < one.replicas) return ["in", "Scaling in"];
    if (one.warnings.length) return ["warning", "Warning"];
    return ["", "Steady"];
  }

  function matches(one, which, wanted) {
    if (which === "changing" && !isChanging(one)) return false;
    if (which === "trouble" && !isTroubled(one)) return false;
    return !wanted || `${one.service}\n${one.queues.join("\n")}`.toLowerCase().includes(wanted);
  }

  // ---------------------------------------------------------------- a card

  const onScreen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = cards.get(entry.target.dataset.key);
      if (!card) continue;
      card.visible = entry.isIntersecting;
      if (card.visible) draw(card, services.get(entry.target.dataset.key));
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
    parts.change.addEventListener("click", () => changing.open(services.get(key)));
    parts.details.addEventListener("toggle", () => showDetails(card, services.get(key)));
    cards.set(key, card);
    onScreen.observe(root);
    return card;
  }

  function show(key) {
    const one = services.get(key);
    const card = cards.get(key) ?? newCard(key);
    const part = card.parts;
    const [kind, word] = state(one);
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
    text(part.why, one.reasons.map((reason) => reason.text).join(" · "));
    part.why.hidden = !one.reasons.length;
    changing.show(part, one);
    text(part.schedule, one.next_bounds?.text ?? "");
    part.schedule.hidden = !one.next_bounds;
    showTroubles(part.troubles, one);
    const last = one.changes.at(-1);
    text(part.summary, last
      ? `Last change ${new Date(last.at * 1000).toLocaleTimeString("en-GB")}, ${count.format(last.current)} → ${count.format(last.desired)}`
      : "Task queues");
    part.details.hidden = !last && !one.parts.length && !Object.keys(one.values).length;
    if (part.details.open) showDetails(card, one);
    if (card.visible) draw(card, one);
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
    if (one.max !== null) notes.push(`${count.format(one.min)}–${count.format(one.max)}`);
    if (one.busy !== null) notes.push(`${count.format(one.busy)} busy`);
    if (one.draining) notes.push(`${count.format(one.draining)} draining`);
    text(part.range, notes.join(" · "));
    const most = Math.max(one.max ?? 0, one.replicas, one.desired, 1);
    const share = (number) => `${(100 * number) / most}`;
    part["bar-now"].setAttribute("width", share(one.replicas));
    part["bar-busy"].setAttribute("width", share(Math.min(one.busy ?? 0, one.replicas)));
    part["bar-wanted"].setAttribute("x", `${Math.min(99, (100 * one.desired) / most)}`);
  }

  const HEADS = { error: "Error", warning: "Warning", drain: "Draining" };

  function showTroubles(list, one) {
    const troubles = [
      ...(one.unseen ? [["error", "The engine did not answer for this service at the latest look; this is what was seen before."]] : []),
      ...one.drains.map(({ replica, text }) => ["drain", `${replica}: ${text}`]),
      ...one.errors.map((words) => ["error", words]),
      ...one.warnings.map((words) => ["warning", words]),
    ];
    const content = JSON.stringify(troubles);
    if (list.dataset.shown === content) return;
    list.dataset.shown = content;
    list.hidden = !troubles.length;
    list.replaceChildren(...troubles.map(([kind, words]) =>
      make("li", [make("b", HEADS[kind]), words], { "data-kind": kind })));
  }

  function changeItem(change, name) {
    const step = make("span", `${count.format(change.current)} → ${count.format(change.desired)}`, { class: "step" });
    return make("li", [
      clock(change.at),
      make("span", name ? [make("b", name), " ", step] : [step]),
      make("span", change.reasons.join(" · "), { class: "because" }),
    ]);
  }

  function showDetails(card, one) {
    if (!card.parts.details.open || !one) return;
    const { changes, parts } = card.parts;
    card.parts["changes-box"].hidden = !one.changes.length;
    changes.replaceChildren(...one.changes.toReversed().map((change) => changeItem(change)));
    card.parts["parts-box"].hidden = !one.parts.length;
    text(card.parts["parts-title"], one.throughput === null
      ? "Task queues"
      : `Task queues · a busy replica does ${perSecond.format(one.throughput)} tasks a second`);
    parts.replaceChildren(...one.parts.map((part) => make("tr", [
      make("th", part.queue, { scope: "row" }),
      make("td", part.type + (part.rate_limited ? ", rate limited" : "")),
      ...[
        count.format(part.waiting), part.waiting && part.age !== null ? duration(part.age) : "–",
        rate.format(part.add_rate), rate.format(part.dispatch_rate), count.format(part.pollers),
      ].map((value) => make("td", value, { class: "r" })),
    ])));
    showValues(card.parts, one);
  }

  function showValues(part, one) {
    const values = Object.entries(one.values);
    part["values-box"].hidden = !values.length;
    part.values.replaceChildren(...values.map(([name, { value, origin }]) => make("tr", [
      make("th", name, { scope: "row" }), make("td", value), make("td", origin),
    ])));
  }

  // ---------------------------------------------------------------- its plot

  function draw(card, one) {
    if (!one || !tick) return;
    const width = 360, height = 60, end = tick.at, begin = end - SPAN;
    const points = one.trail;
    const peak = Math.max(1, ...points.map((point) => point[1] ?? 0));
    const most = Math.max(Math.min(one.max ?? 1, 4), ...points.map((point) => point[2]));
    const x = (at) => ((Math.max(at, begin) - begin) / SPAN * width).toFixed(1);
    const y = (number, top) => (height - 2 - number / top * (height - 6)).toFixed(1);
    let backlog = "", area = "", replicas = "";
    points.forEach(([at, waiting, number], index) => {
      const from = x(at), to = x(index + 1 < points.length ? points[index + 1][0] : end);
      replicas += `${index ? "L" : "M"}${from} ${y(number, most)}H${to}`;
      if (waiting === null) return;
      const joined = index && points[index - 1][1] !== null;
      backlog += `${joined ? "L" : "M"}${from} ${y(waiting, peak)}H${to}`;
      area += `M${from} ${height}V${y(waiting, peak)}H${to}V${height}Z`;
    });
    const part = card.parts;
    part["plot-backlog"].setAttribute("d", backlog);
    part["plot-area"].setAttribute("d", area);
    part["plot-replicas"].setAttribute("d", replicas);
    const highest = points.some((point) => point[1] !== null) ? count.format(Math.max(...points.map((point) => point[1] ?? 0))) : "unknown";
    text(part["plot-key-backlog"], `waiting, peak ${highest}`);
    text(part["plot-key-replicas"], `replicas, peak ${count.format(Math.max(...points.map((point) => point[2])))}`);
    part.plot.setAttribute("aria-label", `The last hour: ${part["plot-key-backlog"].textContent}; ${part["plot-key-replicas"].textContent}`);
  }

  // ---------------------------------------------------------------- the rest of the page

  function arrange() {
    const order = [...services.keys()].sort((a, b) =>
      byName.compare(services.get(a).service, services.get(b).service) || (a < b ? -1 : 1));
    $("cards").replaceChildren(...order.map((key) => cards.get(key).root));
  }

  function filter() {
    const which = document.querySelector("input[name=which]:checked").value;
    const wanted = $("filter").value.trim().toLowerCase();
    let any = false;
    for (const [key, one] of services) {
      const matched = matches(one, which, wanted);
      cards.get(key).root.hidden = !matched;
      any ||= matched;
    }
    $("none").hidden = any || !services.size;
  }

  function showSummary() {
    const all = [...services.values()];
    const sum = (of) => all.reduce((total, one) => total + of(one), 0);
    const replicas = sum((one) => one.replicas), desired = sum((one) => one.desired);
    const troubled = all.filter(isTroubled).length;
    text($("sum-services"), count.format(all.length));
    text($("sum-services-unit"), plural(all.length, "service", "services"));
    showWaiting(all);
    text($("sum-replicas"), replicas === desired ? count.format(replicas) : `${count.format(replicas)} → ${count.format(desired)}`);
    text($("sum-replicas-unit"), plural(desired, "replica", "replicas"));
    text($("sum-trouble"), troubled ? count.format(troubled) : "None");
    $("sum-trouble-box").dataset.any = troubled > 0;
    text($("count-all"), count.format(all.length));
    text($("count-changing"), count.format(all.filter(isChanging).length));
    text($("count-trouble"), count.format(troubled));
    const empty = !all.length && !tick.errors.length;
    $("empty").hidden = !empty;
    $("services-section").hidden = !all.length;
  }

  // What is unknown is never counted as zero. What was seen before the latest look is unknown now.
  function showWaiting(all) {
    const known = all.filter((one) => one.backlog !== null && !one.unseen);
    const unknown = all.length - known.length;
    const waiting = known.reduce((total, one) => total + one.backlog, 0);
    const atLeast = known.length ? `at least ${count.format(waiting)}` : "unknown";
    text($("sum-waiting"), unknown ? atLeast : count.format(waiting));
    const missing = `, ${count.format(unknown)} ${plural(unknown, "service", "services")} unknown`;
    const tasks = plural(known.length ? waiting : 0, "waiting task", "waiting tasks");
    text($("sum-waiting-unit"), `${tasks}${unknown && known.length ? missing : ""}`);
  }

  // The latest change of each service comes first; only the room that is left goes to earlier ones.
  // So no service, however often it changes, pushes out what the others last did.
  function showRecent() {
    const lasts = [], earlier = [];
    for (const one of services.values()) {
      one.changes.forEach((change, index) =>
        (index + 1 === one.changes.length ? lasts : earlier).push([change, one.service]));
    }
    const newest = (a, b) => b[0].at - a[0].at;
    const shown = [...lasts.sort(newest), ...earlier.sort(newest)].slice(0, FEED).sort(newest);
    $("recent").hidden = !shown.length;
    $("recent-list").replaceChildren(...shown.map(([change, name]) => changeItem(change, name)));
  }

  function showConnections() {
    const content = JSON.stringify([tick.integrations, Math.floor(tick.at / 60)]);
    $("connections").hidden = !tick.integrations.length;
    if ($("connection-list").dataset.shown === content) return;
    $("connection-list").dataset.shown = content;
    $("connection-list").replaceChildren(...tick.integrations.map((one) => {
      const [kind, word] = one.up === null ? ["", "Not used"] : one.up ? ["up", "Up"] : ["error", "Down"];
      const lines = [`${one.endpoint} · ${one.namespace}`, `from ${one.origin}`].map((words) => make("p", words, { class: "where" }));
      if (one.expires_at !== null) {
        const left = one.expires_at - tick.at;
        lines.push(make("p", left > 0 ? `credential expires in ${duration(left)}` : `credential expired ${duration(-left)} ago`,
          { class: "expiry", "data-soon": left <= 0 ? "over" : `${one.expires_soon}` }));
      }
      if (one.error) lines.push(make("p", one.error, { class: "error" }));
      return make("li", [make("header", [make("h3", one.name), make("span", word, { class: "badge", "data-state": kind })]), ...lines],
        { class: "card connection" });
    }));
  }

  function showLimits() {
    const content = JSON.stringify([tick.limits, tick.memory]);
    const list = $("limits");
    if (list.dataset.shown === content) return;
    list.dataset.shown = content;
    list.hidden = !tick.limits.length && !tick.memory;
    const shown = tick.limits.map((one) => {
      const used = `${count.format(one.replicas)} of ${count.format(one.most)} ${plural(one.most, "replica", "replicas")}`;
      const wished = one.wished > one.most ? `, ${count.format(one.wished)} wished` : "";
      return make("li", [make("b", one.name), ` ${used}${wished}`], { "data-scarce": wished !== "" });
    });
    if (tick.memory) shown.push(make("li", [make("b", "memory of the host"), ` ${tick.memory.text}`]));
    list.replaceChildren(...shown);
  }

  function showPulse() {
    const silent = (performance.now() - tickedAt) / 1000;
    const stalled = tick && !lost && silent > daemon.stalled_after;
    const [kind, words] = lost ? ["lost", "Daemon lost"] : !tick ? ["joining", "Connecting"]
      : stalled ? ["stalled", "Loop stalled"] : ["live", silent < 2 ? "Live" : `Live, looked ${duration(silent)} ago`];
    $("pulse").dataset.state = kind;
    text($("pulse-text"), words);
    document.body.classList.toggle("old", Boolean(lost || stalled));
    const banners = [];
    const when = tick?.at ? `This is what it saw at ${new Date(tick.at * 1000).toLocaleTimeString("en-GB")}.` : "";
    if (lost) banners.push(["The daemon does not answer", `${lost}. ${when} Trying again every ${RETRY / 1000} s.`]);
    if (stalled) banners.push(["The daemon has stopped looking", `${when} See its log, and restart it.`]);
    for (const error of tick?.errors ?? []) banners.push(["Error", error]);
    for (const warning of tick?.warnings ?? []) banners.push(["Warning", warning, "warning"]);
    if (tick?.left_alone?.length && !services.size) {
      banners.push(["Left alone", `${tick.left_alone.join(", ")}: they belong to other projects; AUTOSCALER_PROJECTS=* looks after all`, "warning"]);
    }
    const content = JSON.stringify(banners);
    if ($("banners").dataset.shown !== content) {
      $("banners").dataset.shown = content;
      $("banners").replaceChildren(...banners.map(([head, words, kind = "error"]) =>
        make("p", [make("b", `${head}: `), words], { class: "banner", "data-kind": kind })));
    }
    const troubled = [...services.values()].filter(isTroubled).length;
    document.title = kind === "live" ? `${troubled ? `(${troubled}) ` : ""}Autoscaler` : `${words} - Autoscaler`;
  }

  // ---------------------------------------------------------------- messages of the stream

  function onState(data) {
    if (daemon && daemon.version !== data.about.version) return location.reload();
    daemon = data.about;
    text($("version"), daemon.version);
    for (const node of document.querySelectorAll(".prefix")) text(node, daemon.prefix);
    for (const key of [...cards.keys()]) if (!(key in data.services)) drop(key);
    services.clear();
    for (const [key, one] of Object.entries(data.services)) services.set(key, one);
    tick = data;
    for (const key of services.keys()) show(key);
    arrange();
    afterTick(true);
  }

  function onTick(data) {
    tick = data;
    let more = false, changed = false;
    for (const [key, { point, ...news }] of Object.entries(data.services)) {
      const one = services.get(key) ?? { trail: [] };
      more ||= !services.has(key);
      Object.assign(one, news);
      if (point) {
        if (one.trail.at(-1)?.[0] === point[0]) one.trail.pop();
        while (one.trail.length > 1 && one.trail[1][0] <= point[0] - SPAN) one.trail.shift();
        one.trail.push(point);
      }
      changed ||= "changes" in news;
      services.set(key, one);
      show(key);
    }
    for (const key of data.gone) {
      services.delete(key);
      drop(key);
      changed = true;
    }
    if (more) arrange();
    for (const [key, card] of cards) if (card.visible && !(key in data.services)) draw(card, services.get(key));
    afterTick(changed);
  }

  function afterTick(changed) {
    tickedAt = performance.now();
    $("board").hidden = tick.at === null;
    showSummary();
    showConnections();
    showLimits();
    if (changed) showRecent();
    filter();
    showPulse();
    const dot = $("pulse").querySelector(".dot");
    dot.classList.remove("beat");
    requestAnimationFrame(() => dot.classList.add("beat"));
  }

  function drop(key) {
    onScreen.unobserve(cards.get(key).root);
    cards.get(key).root.remove();
    cards.delete(key);
  }

  function onMessage(message) {
    let name = "", data = "";
    for (const line of message.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (name === "state") onState(JSON.parse(data));
    if (name === "tick") onTick(JSON.parse(data));
  }

  // Not an EventSource: it cannot send the token, and does not notice a daemon that hangs.
  async function readStream() {
    const abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE);
    try {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const answer = await fetch("api/stream", { headers, signal: abort.signal, cache: "no-store" });
      if (answer.status === 401) return await askForToken();
      if (!answer.ok) throw new Error(`It answers with status ${answer.status}`);
      if (token) sessionStorage.setItem("token", token);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      lost = null;
      for (let rest = "";;) {
        const { value, done } = await reader.read();
        if (done) throw new Error("It closed the connection");
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE);
        const messages = (rest + value).split("\n\n");
        rest = messages.pop();
        messages.forEach(onMessage);
      }
    } catch (error) {
      lost = abort.signal.aborted ? "It has gone silent" : error instanceof TypeError ? "The connection is broken" : error.message;
      showPulse();
      await new Promise((done) => setTimeout(done, RETRY));
    } finally {
      clearTimeout(watchdog);
    }
  }

  function askForToken() {
    sessionStorage.removeItem("token");
    $("board").hidden = true;
    $("lock").hidden = false;
    text($("refused"), token ? "That is not the token." : "");
    text($("pulse-text"), "Locked");
    $("token").focus();
    return new Promise((done) => {
      $("lock").onsubmit = (event) => {
        event.preventDefault();
        token = $("token").value.trim();
        $("token").value = "";
        $("lock").hidden = true;
        done();
      };
    });
  }

  async function copy(button) {
    const source = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // The clipboard API needs HTTPS or localhost.
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    text(button, "Copied");
    setTimeout(() => text(button, "Copy"), 2000);
  }

  document.addEventListener("click", (event) => {
    if (event.target.dataset?.copy) copy(event.target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      $("filter").focus();
    }
    if (event.key === "Escape" && event.target.id === "filter") {
      event.target.value = "";
      filter();
    }
  });
  $("filter").addEventListener("input", filter);
  for (const choice of document.querySelectorAll("input[name=which]")) choice.addEventListener("change", filter);
  setInterval(showPulse, 1000);
  (async () => {
    for (;;) await readStream();
  })();
})();
