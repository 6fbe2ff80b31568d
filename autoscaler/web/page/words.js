"use strict";
// What all rooms of the page need: words for numbers and times, nodes of the document, and what state
// a service is in. Everything is written into the document as text and attributes, never as markup.
const SPAN = 3600;              // seconds that a plot shows
const count = new Intl.NumberFormat("en");
const $ = (id) => document.getElementById(id);

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

// A duration that goes on, without seconds once it is longer than a minute: it is read, not counted.
function lasting(seconds) {
  return seconds < 60 ? "under 1 min" : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : duration(seconds);
}

function timeOfDay(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

// Hours and minutes, with the day where it is another one.
function hour(seconds) {
  const at = new Date(seconds * 1000);
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString("en-GB")} ${time}`;
}

function clock(seconds) {
  return make("time", timeOfDay(seconds), { datetime: new Date(seconds * 1000).toISOString() });
}

function plural(number, one, many) {
  return number === 1 ? one : many;
}

function step(current, desired) {
  return `${count.format(current)} → ${count.format(desired)}`;
}

function isChanging(one) {
  return one.desired !== one.replicas || one.draining > 0;
}

function isTroubled(one) {
  return one.errors.length + one.warnings.length > 0 || one.unseen;
}

function isLeftAlone(one) {
  return one.reasons.some(({ code }) => ["off", "refused", "stopped-by-hand"].includes(code));
}

// The kind of badge, and its words. `now` is the moment of the latest tick.
function state(one, now) {
  if (one.unseen) return ["error", "Not seen"];
  if (one.errors.length) return ["error", "Error"];
  if (one.overrides.some(({ name, value }) => name === "mode" && value === "off")) return ["warning", "Paused"];
  if (isLeftAlone(one)) return ["", "Left alone"];
  if (one.desired > one.replicas) return ["out", "Scaling out"];
  if (one.desired < one.replicas) return ["in", "Scaling in"];
  if (one.at_max) return ["warning", one.at_max_since === null ? "At max" : `At max for ${lasting(now - one.at_max_since)}`];
  if (one.reasons.some(({ code }) => code === "shared")) return ["warning", "Held by a share"];
  if (one.warnings.length) return ["warning", "Warning"];
  if (one.reasons.some(({ bearing }) => bearing !== "normal")) return ["", "Held"];
  if (one.draining) return ["", "Draining"];
  return ["", "Steady"];
}
