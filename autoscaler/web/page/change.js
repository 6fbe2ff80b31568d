"use strict";
// Overrides of a service: shown on its card, set in a dialog, and removed with one click.
// `token()` returns the access token, and `changeable()` whether the daemon takes changes.
const makeChanging = ({ token, changeable }) => {
  const dialog = $("change");
  const fields = ["change-min", "change-max", "change-reason"].map($);
  let service = null;           // whose dialog is open

  function path({ orchestrator, service: name }) {
    const parts = [orchestrator, ...name.split("/")].map(encodeURIComponent);
    return `api/services/${parts.join("/")}/overrides`;
  }

  // Returns why it was not done, or nothing.
  async function send(method, url, body) {
    const headers = { Authorization: `Bearer ${token()}` };
    if (body) headers["Content-Type"] = "application/json";
    try {
      const answer = await fetch(url, { method, headers, cache: "no-store", body: body && JSON.stringify(body) });
      if (answer.ok) return null;
      if (answer.status === 401) return "The access token is not the right one any more. Reload the page to give another.";
      return (await answer.json()).error;
    } catch {
      return "The daemon does not answer, so it is not known whether anything was changed.";
    }
  }

  function wanted() {
    const values = {};
    const pause = dialog.querySelector("input[name=pause]:checked").value;
    if (pause) values.mode = pause;
    for (const name of ["min", "max"]) {
      const given = $(`change-${name}`).value.trim();
      if (given) values[name] = given;
    }
    return values;
  }

  function refuse(words) {
    $("change-refused").textContent = words;
  }

  function open(one) {
    service = one;
    $("change-name").textContent = one.service;
    for (const field of fields) field.value = "";
    $("change-min").placeholder = one.min ?? "";
    $("change-max").placeholder = one.max ?? "";
    dialog.querySelector("input[name=pause][value='']").checked = true;
    $("change-for").value = "1h";
    refuse("");
    dialog.showModal();
  }

  async function submit(event) {
    event.preventDefault();
    const values = wanted();
    if (!Object.keys(values).length) return refuse("Choose a pause, or give min or max.");
    const submitted = $("change-submit");
    submitted.disabled = true;
    refuse("");
    const why = await send("PUT", path(service), {
      values, for: $("change-for").value, reason: $("change-reason").value.trim(),
    });
    submitted.disabled = false;
    if (why) return refuse(why);
    dialog.close();
    say(`Set for ${service.service}.`);
  }

  async function undo(one, name, button) {
    button.disabled = true;
    const why = await send("DELETE", `${path(one)}?name=${encodeURIComponent(name)}`);
    button.disabled = false;
    say(why ?? `Removed for ${one.service}.`, why ? "error" : "");
  }

  // What was set live: until when, by whom and why, and the button that ends it.
  function show(part, one) {
    part.acts.hidden = !changeable();
    part.change.setAttribute("aria-label", `Change ${one.service}`);
    const list = part.overrides;
    const content = JSON.stringify(one.overrides);
    if (list.dataset.shown === content) return;
    list.dataset.shown = content;
    list.hidden = !one.overrides.length;
    list.replaceChildren(...one.overrides.map((set) => {
      const end = set.until === null ? "until it is removed" : `until ${hour(set.until)}`;
      const words = make("span", [make("b", set.what), ` ${end} by ${set.by}${set.reason ? `: ${set.reason}` : ""}`]);
      const left = make("span", "", { class: "left" });
      if (set.until !== null) left.dataset.until = set.until;
      return make("li", [words, left, ...(changeable() ? [undoButton(one, set)] : [])]);
    }));
    showTimeLeft(list);
  }

  function undoButton(one, set) {
    const word = set.name === "mode" && set.what.includes("paused") ? "Resume" : "Undo";
    const button = make("button", word, { type: "button", "aria-label": `${word} ${one.service}: ${set.what}` });
    button.addEventListener("click", () => undo(one, set.name, button));
    return button;
  }

  function showTimeLeft(within) {
    for (const node of within.querySelectorAll(".left[data-until]")) {
      text(node, `${duration(Math.max(0, node.dataset.until - Date.now() / 1000))} left`);
    }
  }

  // Tells what came of a change; it goes after a while, and an error stays longer.
  function say(words, kind = "") {
    const told = $("told");
    told.dataset.kind = kind;
    text(told, words);
    told.hidden = false;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { told.hidden = true; }, kind === "error" ? 30_000 : 6_000);
  }

  $("change-form").addEventListener("submit", submit);
  $("change-cancel").addEventListener("click", () => dialog.close());
  setInterval(() => showTimeLeft(document), 1000);
  return { open, show };
};
