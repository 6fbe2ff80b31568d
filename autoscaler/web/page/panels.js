"use strict";
// What stands around the services: banners, sums, connections, limits and the latest changes.
const FEED = 6;                 // of how many services the latest changes are listed
const OF_ONE = 2;               // how many of them at most of one service

// Shows a list anew where its content differs from what it shows.
function renew(list, content, items) {
  const shown = JSON.stringify(content);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...items());
}

function showSummary(all, tick) {
  const sum = (of) => all.reduce((total, one) => total + of(one), 0);
  const replicas = sum((one) => one.replicas), desired = sum((one) => one.desired);
  const troubled = all.filter(isTroubled).length;
  text($("sum-services"), count.format(all.length));
  text($("sum-services-unit"), plural(all.length, "service", "services"));
  showWaiting(all);
  text($("sum-replicas"), replicas === desired ? count.format(replicas) : step(replicas, desired));
  text($("sum-replicas-unit"), plural(desired, "replica", "replicas"));
  text($("sum-trouble"), troubled ? count.format(troubled) : "None");
  $("sum-trouble-box").dataset.any = troubled > 0;
  text($("count-all"), count.format(all.length));
  text($("count-changing"), count.format(all.filter(isChanging).length));
  text($("count-trouble"), count.format(troubled));
  $("empty").hidden = Boolean(all.length || tick.errors.length);
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

// The services that changed last, each with its last changes under its name. So no service, however
// often it changes, pushes out what the others last did.
function showRecent(all) {
  const changed = all.filter((one) => one.changes.length)
    .toSorted((a, b) => b.changes.at(-1).at - a.changes.at(-1).at).slice(0, FEED);
  $("recent").hidden = !changed.length;
  $("recent-list").replaceChildren(...changed.map((one) => make("li", [
    make("h3", make("a", one.service, { href: linkTo(one) })),
    make("ol", one.changes.slice(-OF_ONE).toReversed().map(changeItem), { class: "list feed" }),
  ])));
}

// A cause that a banner tells of is not told again at its connection.
function showConnections(tick) {
  const told = tick.causes.map((cause) => cause.text);
  $("connections").hidden = !tick.integrations.length;
  renew($("connection-list"), [tick.integrations, told, Math.floor(tick.at / 60)], () => tick.integrations.map((one) => {
    const [kind, word] = one.up === null ? ["", "Not used"] : one.up ? ["up", "Up"] : ["error", "Down"];
    const lines = [`${one.endpoint} · ${one.namespace}`, `from ${one.origin}`].map((words) => make("p", words, { class: "where" }));
    if (one.expires_at !== null) {
      const left = one.expires_at - tick.at;
      lines.push(make("p", left > 0 ? `credential expires in ${duration(left)}` : `credential expired ${duration(-left)} ago`,
        { class: "expiry", "data-soon": left <= 0 ? "over" : `${one.expires_soon}` }));
    }
    if (one.error && !told.includes(one.error)) lines.push(make("p", one.error, { class: "error" }));
    return make("li", [make("header", [make("h3", one.name), make("span", word, { class: "badge", "data-state": kind })]), ...lines],
      { class: "card connection" });
  }));
}

function showLimits(tick) {
  const list = $("limits");
  list.hidden = !tick.limits.length && !tick.memory;
  renew(list, [tick.limits, tick.memory], () => {
    const shown = tick.limits.map((one) => {
      const used = `${count.format(one.replicas)} of ${count.format(one.most)} ${plural(one.most, "replica", "replicas")}`;
      const wished = one.wished > one.most ? `, ${count.format(one.wished)} wished` : "";
      return make("li", [make("b", one.name), ` ${used}${wished}`], { "data-scarce": wished !== "" });
    });
    if (tick.memory) shown.push(make("li", [make("b", "memory of the host"), ` ${tick.memory.text}`]));
    return shown;
  });
}

// One cause in one banner: how many services it befalls, since when, and what to do.
function causeBanner({ text, warning, services, since }) {
  const many = services ? ` for ${count.format(services)} ${plural(services, "service", "services")}` : "";
  return [`${warning ? "Warning" : "Error"}${many} since ${hour(since)}`, text, warning ? "warning" : "error"];
}

// `lost` is why the daemon does not answer, and `stalled` whether it looks no more.
function showBanners({ tick, lost, stalled, retry, none }) {
  const banners = [];
  const when = tick?.at ? `This is what it saw at ${timeOfDay(tick.at)}.` : "";
  if (lost) banners.push(["The daemon does not answer", `${lost}. ${when} Trying again every ${retry / 1000} s.`, "error"]);
  if (stalled) banners.push(["The daemon has stopped looking", `${when} See its log, and restart it.`, "error"]);
  banners.push(...(tick?.causes ?? []).map(causeBanner));
  for (const warning of tick?.warnings ?? []) banners.push(["Warning", warning, "warning"]);
  if (tick?.left_alone?.length && none) {
    banners.push(["Left alone", `${tick.left_alone.join(", ")}: they belong to other projects; AUTOSCALER_PROJECTS=* looks after all`, "warning"]);
  }
  renew($("banners"), banners, () => banners.map(([head, words, kind]) =>
    make("p", [make("b", `${head}: `), words], { class: "banner", "data-kind": kind })));
}
