"use strict";
// The page of a running daemon. It opens one stream, keeps the services in a Map, and shows all of
// them, or the one that the address names.
(() => {
  const SILENCE = 30_000;       // ms without a byte after which the daemon counts as lost
  const RETRY = 2_000;          // ms between two attempts to reach the daemon

  const byName = new Intl.Collator("en", { numeric: true });
  const services = new Map();   // key -> the service as the daemon sent it, with its trail
  let daemon = null;            // what does not change while the daemon runs
  let tick = null;              // what the latest tick said apart from its services
  let tickedAt = 0;             // when the latest tick came in, in ms of this page's clock
  let told = new Set();         // messages of services that banners stand for
  let alone = null;             // the key of the service that is shown alone; null: all are shown
  let lost = null;              // why the daemon does not answer; null while it does
  let token = sessionStorage.getItem("token");
  const changing = makeChanging({ token: () => token, changeable: () => daemon?.changeable });
  const cards = makeCards({
    services, changing, causes: () => told, now: () => tick?.at, daemon: () => daemon,
  });

  // ---------------------------------------------------------------- which services are shown

  function arrange() {
    const order = [...services.keys()].sort((a, b) =>
      byName.compare(services.get(a).service, services.get(b).service) || (a < b ? -1 : 1));
    $("cards").replaceChildren(...order.map((key) => cards.all.get(key).root));
  }

  // Returns the key of the service that the address names; null where it names none.
  function named() {
    const [orchestrator, ...name] = location.hash.slice(2).split("/").map(decoded);
    return name.length ? `${orchestrator}:${name.join("/")}` : null;
  }

  function decoded(part) {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;              // somebody typed a lone %
    }
  }

  function matches(key, one, which, wanted) {
    if (alone !== null) return key === alone;
    if (which === "changing" && !isChanging(one)) return false;
    if (which === "trouble" && !isTroubled(one)) return false;
    return !wanted || `${one.service}\n${one.queues.join("\n")}`.toLowerCase().includes(wanted);
  }

  function filter() {
    const which = document.querySelector("input[name=which]:checked").value;
    const wanted = $("filter").value.trim().toLowerCase();
    let any = false;
    for (const [key, one] of services) {
      const matched = matches(key, one, which, wanted);
      cards.all.get(key).root.hidden = !matched;
      any ||= matched;
    }
    text($("none"), alone === null ? "No service matches this filter."
      : `The daemon sees no service ${alone.slice(alone.indexOf(":") + 1)}.`);
    $("none").hidden = any || (alone === null && !services.size);
  }

  // Goes to one service, or back to all, as the address says. The focus follows a step of a person,
  // which comes with an event.
  function follow(event) {
    if (location.hash && !location.hash.startsWith("#/")) return; // a place within the page
    const before = alone;
    alone = named();
    document.body.classList.toggle("one", alone !== null);
    $("back").hidden = alone === null;
    cards.showAlone(alone);
    filter();
    showPulse();
    if (!event || before === alone) return;
    if (alone !== null) scrollTo(0, 0);
    const focused = alone === null ? cards.all.get(before)?.parts.name : $("back").querySelector("a");
    focused?.focus();
  }

  function showPulse() {
    const silent = (performance.now() - tickedAt) / 1000;
    const stalled = Boolean(tick && !lost && silent > daemon.stalled_after);
    const [kind, words] = lost ? ["lost", "Daemon lost"] : !tick ? ["joining", "Connecting"]
      : stalled ? ["stalled", "Loop stalled"] : ["live", silent < 2 ? "Live" : `Live, looked ${duration(silent)} ago`];
    $("pulse").dataset.state = kind;
    text($("pulse-text"), words);
    document.body.classList.toggle("old", Boolean(lost || stalled));
    showBanners({ tick, lost, stalled, retry: RETRY, none: !services.size });
    const troubled = [...services.values()].filter(isTroubled).length;
    const what = services.get(alone)?.service;
    const parts = kind === "live" ? [troubled ? `(${troubled}) ` : "", what ? `${what} - ` : ""] : [`${words} - `];
    document.title = `${parts.join("")}Autoscaler`;
  }

  // ---------------------------------------------------------------- messages of the stream

  function onState(data) {
    if (daemon && daemon.version !== data.about.version) return location.reload();
    daemon = data.about;
    text($("version"), daemon.version);
    for (const node of document.querySelectorAll(".prefix")) text(node, daemon.prefix);
    for (const key of [...cards.all.keys()]) if (!(key in data.services)) cards.drop(key);
    services.clear();
    for (const [key, one] of Object.entries(data.services)) services.set(key, one);
    take(data);
    for (const key of services.keys()) cards.show(key);
    arrange();
    afterTick(true);
    follow();
  }

  function onTick(data) {
    const before = told;
    take(data);
    const retold = told.size !== before.size || [...told].some((words) => !before.has(words));
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
      cards.show(key);
    }
    for (const key of data.gone) {
      services.delete(key);
      cards.drop(key);
      changed = true;
    }
    if (more) arrange();
    for (const [key, one] of services) {
      if (key in data.services) continue;
      if (retold || one.at_max) cards.show(key);
      else cards.draw(key);
    }
    afterTick(changed);
    if (more && alone !== null) follow();
  }

  function take(data) {
    tick = data;
    told = new Set(tick.causes.flatMap((cause) => cause.texts.length ? cause.texts : [cause.text]));
  }

  function afterTick(changed) {
    tickedAt = performance.now();
    $("board").hidden = tick.at === null;
    const all = [...services.values()];
    showSummary(all, tick);
    showConnections(tick);
    showLimits(tick);
    if (changed) showRecent(all);
    filter();
    showPulse();
    const dot = $("pulse").querySelector(".dot");
    dot.classList.remove("beat");
    requestAnimationFrame(() => dot.classList.add("beat"));
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
    if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName) && alone === null) {
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
  addEventListener("hashchange", follow);
  setInterval(showPulse, 1000);
  (async () => {
    for (;;) await readStream();
  })();
})();
