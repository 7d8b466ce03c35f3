// Keeps the overview fresh and sends what its buttons ask for. Without it, pages still show all.
"use strict";

const REFRESH_MS = 4000;
const SLOWEST_MS = 60000;
const REST = 10; // A service that takes long to answer is asked less often.
const FOLLOW_MS = 1000;
const FOLLOWED_AT_MOST = 600;

document.documentElement.classList.add("has-script");

const live = document.getElementById("live");
const shown = new Map();
let timer = null;
let wait = REFRESH_MS;
let isAsking = false;

function say(text, kind) {
  const line = document.createElement("p");
  line.className = kind || "";
  line.textContent = text;
  const box = document.getElementById("messages");
  box.replaceChildren(line);
  if (kind !== "bad") {
    setTimeout(() => line.remove(), 12000);
  }
}

function regionsOf(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  return [...parsed.body.children].filter((it) => it.id);
}

// What people have typed or opened in a region goes over to its new version.
function carryOver(from, to) {
  for (const field of from.querySelectorAll("input[id]")) {
    const other = to.querySelector("#" + CSS.escape(field.id));
    if (other && field.type === "checkbox") {
      other.checked = field.checked;
    } else if (other && field.value !== field.defaultValue) {
      other.value = field.value;
    }
  }
  for (const field of from.querySelectorAll("select[id]")) {
    const other = to.querySelector("#" + CSS.escape(field.id));
    if (other) {
      other.value = field.value;
    }
  }
  for (const opened of from.querySelectorAll("details[open][id]")) {
    const other = to.querySelector("#" + CSS.escape(opened.id));
    if (other) {
      other.open = true;
    }
  }
  for (const box of from.querySelectorAll("[data-busy]")) {
    const other = to.querySelector("#" + CSS.escape(box.id));
    if (other) {
      other.dataset.busy = "";
      other.disabled = true;
    }
  }
}

// A field that is being filled in, or a list that may be open, is not taken from under the hands.
function isTypingIn(region) {
  const active = document.activeElement;
  if (!active || !region.contains(active)) {
    return false;
  }
  return (
    active.tagName === "SELECT" ||
    (active.tagName === "INPUT" && active.type !== "checkbox" && active.value !== active.defaultValue)
  );
}

function replaceRegions(html) {
  for (const region of regionsOf(html)) {
    const old = document.getElementById(region.id);
    const text = region.outerHTML;
    if (!old || shown.get(region.id) === text || isTypingIn(old)) {
      continue;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    carryOver(old, region);
    old.replaceWith(region);
    shown.set(region.id, text);
    const again = focused && focused.id && document.getElementById(focused.id);
    if (again) {
      again.focus({ preventScroll: true });
    } else if (focused) {
      // What had the focus is gone: the reader stays in the same part of the page.
      const next = region.hidden ? document.getElementById("main") : region;
      next.tabIndex = -1;
      next.focus({ preventScroll: true });
    }
  }
}

async function refresh() {
  if (!live || isAsking) {
    return;
  }
  isAsking = true;
  const began = performance.now();
  try {
    const answer = await fetch(live.dataset.live, { credentials: "same-origin" });
    if (answer.redirected) {
      location.assign("/sign-in");
      return;
    }
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    replaceRegions(await answer.text());
    wait = Math.min(Math.max(REFRESH_MS, (performance.now() - began) * REST), SLOWEST_MS);
    document.getElementById("stale-notice").hidden = true;
  } catch {
    wait = Math.min(wait * 2, SLOWEST_MS);
    document.getElementById("stale-notice").hidden = false;
  } finally {
    isAsking = false;
  }
}

function schedule() {
  clearTimeout(timer);
  if (!live || document.hidden) {
    return;
  }
  timer = setTimeout(async () => {
    await refresh();
    schedule();
  }, wait);
}

async function send(method, path, body) {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const answer = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: { "content-type": "application/json", "x-csrf-token": token },
    body,
  });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(told.detail || told.title || "This did not work.");
  }
  return { told, location: answer.headers.get("location") };
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function follow(location, said) {
  for (let asked = 0; asked < FOLLOWED_AT_MOST; asked += 1) {
    await pause(FOLLOW_MS);
    const { told } = await send("GET", location);
    if (told.status === "done") {
      return said + ": done.";
    }
    if (told.status === "failed") {
      throw new Error(said + ", but it failed: " + (told.error || "see the scope."));
    }
  }
  return said + "; it still runs.";
}

async function act(element, more) {
  const { post, body, said, then } = element.dataset;
  const button = element.tagName === "FORM" ? element.querySelector("button") : element;
  const sent = JSON.stringify({ ...JSON.parse(body || "{}"), ...more });
  button.dataset.busy = "";
  button.disabled = true;
  try {
    const { location: follows } = await send("POST", post, sent);
    say(said + ".");
    schedule();
    if (follows) {
      say(await follow(follows, said));
    }
    if (then === "reload") {
      location.reload();
    }
  } catch (error) {
    say(error.message, "bad");
  } finally {
    const now = document.getElementById(button.id) || button;
    for (const it of [button, now]) {
      delete it.dataset.busy;
      it.disabled = false;
    }
    await refresh();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) {
    act(button);
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-post]");
  if (!form) {
    return;
  }
  event.preventDefault();
  const field = form.querySelector("input");
  const name = form.querySelector("input[name]");
  const wrong = form.querySelector(".wrong");
  if (field.value.trim().replaceAll(",", "") !== form.dataset.repeat) {
    wrong.textContent = "This is not the number. Nothing was approved.";
    field.setAttribute("aria-invalid", "true");
    field.focus();
    return;
  }
  wrong.textContent = "";
  const more = name ? { [name.name]: name.value.trim() } : {};
  for (const filled of form.querySelectorAll("input")) {
    filled.value = "";
    filled.removeAttribute("aria-invalid");
  }
  act(form, more);
});

// A tip goes away on Escape, as people expect it to.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement.classList.contains("badge")) {
    document.activeElement.blur();
  }
});

document.addEventListener("visibilitychange", async () => {
  clearTimeout(timer);
  if (!document.hidden) {
    await refresh();
    schedule();
  }
});

schedule();
