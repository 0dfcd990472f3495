// Keeps a page up to date: takes the parts that changed from its stream, and counts times on. Without it the page is
// what it was when it was loaded.
"use strict";

const seen = new Map(); // id -> the HTML it was last given
let skew = 0; // the cluster's clock minus ours, in seconds
let source = null;

function made(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // text of ours: everything in it that was not was escaped where it was made
  return holder.content.firstElementChild;
}

function put(html, lists) {
  const focused = document.activeElement && document.activeElement.id;
  const fresh = new Map();
  for (const [id, text] of Object.entries(html)) {
    if (seen.get(id) === text) continue;
    seen.set(id, text);
    const there = document.getElementById(id);
    const part = made(text);
    if (there && there.isEqualNode(part)) continue;
    if (there) there.replaceWith(part);
    else fresh.set(id, part);
  }
  for (const [id, order] of Object.entries(lists)) {
    const list = document.getElementById(id);
    if (!list) continue;
    const wanted = new Set(order);
    for (const one of [...list.children]) {
      if (!wanted.has(one.id)) {
        seen.delete(one.id);
        one.remove();
      }
    }
    order.forEach((one, at) => {
      const part = fresh.get(one) || document.getElementById(one);
      if (part && list.children[at] !== part) list.insertBefore(part, list.children[at] || null);
    });
  }
  if (focused && document.activeElement === document.body) {
    const again = document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  }
  const head = document.getElementById("headline");
  if (head && head.dataset.title) document.title = head.dataset.title;
  tell_times();
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

function tell_times() {
  const now = Date.now() / 1000 + skew;
  for (const one of document.querySelectorAll("time[data-since]")) {
    const words = one.dataset.words ? `${one.dataset.words} ` : "";
    const said = words + duration(now - Number(one.dataset.since));
    if (one.textContent !== said) one.textContent = said;
  }
  for (const one of document.querySelectorAll("time[data-at]:not([data-told])")) {
    const then = new Date(Number(one.dataset.at) * 1000);
    one.textContent = then.toLocaleTimeString([], { hour12: false });
    one.title = then.toLocaleString();
    one.dataset.told = "1";
  }
}

function live(state, words) {
  const sign = document.getElementById("live");
  if (!sign || sign.dataset.state === state) return;
  sign.dataset.state = state;
  sign.textContent = words;
}

function listen(where) {
  if (source) source.close();
  source = new EventSource(where);
  source.addEventListener("parts", (event) => {
    const said = JSON.parse(event.data);
    skew = said.now - Date.now() / 1000;
    put(said.html, said.lists);
    live("on", "live");
  });
  source.addEventListener("gone", (event) => {
    source.close();
    live("off", JSON.parse(event.data).why);
  });
  source.addEventListener("error", () => {
    live("off", "no connection: what you see is old");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(where), 3000);
  });
}

function find(field) {
  const to = new URL(location.href);
  if (field.value) to.searchParams.set("q", field.value);
  else to.searchParams.delete("q");
  history.replaceState(null, "", to);
  listen(document.body.dataset.stream.split("?")[0] + "?" + new URLSearchParams({ q: field.value }));
}

function step(by) {
  const rows = [...document.querySelectorAll("tbody th a, .attention a")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : (at + by + rows.length) % rows.length].focus();
}

function on_key(event) {
  const field = document.getElementById("find");
  if (event.key === "Escape" && document.activeElement === field) field.blur();
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
  const to = { "/": () => field && field.focus(), j: () => step(1), k: () => step(-1) };
  to.g = () => location.assign("/");
  to.w = () => location.assign("/what-if");
  if (!to[event.key]) return;
  event.preventDefault();
  to[event.key]();
}

document.documentElement.classList.add("scripted");
document.addEventListener("keydown", on_key);
const field = document.getElementById("find");
if (field) {
  let due = 0;
  field.addEventListener("input", () => {
    clearTimeout(due);
    due = setTimeout(() => find(field), 200);
  });
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    find(field);
  });
}
for (const one of document.querySelectorAll("select[data-submit]")) one.addEventListener("change", () => one.form.submit());
tell_times();
setInterval(tell_times, 1000);
if (document.body.dataset.stream) listen(document.body.dataset.stream);
