// The phone is live: whenever something changes, the screen is fetched again; lines that did not change stay as they are.
"use strict";
(() => {
  const live = document.getElementById("live");
  const complaint = document.getElementById("complaint");
  const AGAIN_MS = 3000;
  // Each line as the server sent it; what a reader did in it since then does not count.
  const sources = new WeakMap();

  function toEnd() {
    if (live.querySelector("[data-scroll-end]")) live.scrollTop = live.scrollHeight;
  }

  // Said until the next thing that is done.
  function complain(text) {
    complaint.textContent = text;
    complaint.hidden = !text;
  }

  // A changed line in the place of the old one; whoever stood in it with the keyboard still stands there.
  function replaceLine(known, line) {
    const active = document.activeElement;
    const wasInside = known.contains(active);
    known.replaceWith(line);
    if (!wasInside) return;
    const buttons = [...line.querySelectorAll("button[data-key]")];
    let place = buttons.find((button) => button.dataset.key === active.dataset.key);
    if (!place) {
      place = line;
      line.tabIndex = -1;
    }
    place.focus({ preventScroll: true });
  }

  // Lines that did not change are not touched: a choice that somebody is making in a card must not be lost.
  function merge(list, fresh) {
    const wanted = new Set([...fresh.children].map((line) => line.dataset.msgid || ""));
    [...list.children].forEach((line) => {
      if (!line.dataset.msgid || !wanted.has(line.dataset.msgid)) line.remove();
    });
    const old = new Map([...list.children].map((line) => [line.dataset.msgid, line]));
    let place = list.firstElementChild;
    for (const line of [...fresh.children]) {
      const known = old.get(line.dataset.msgid);
      const source = line.outerHTML;
      const kept = known && sources.get(known) === source ? known : line;
      sources.set(kept, source);
      const isInPlace = known === place;
      if (known && kept !== known) replaceLine(known, kept);
      if (known && isInPlace) place = kept.nextElementSibling;
      else list.insertBefore(kept, place);
    }
  }

  // A screen that did not change stays as it is, too: a link must not go from under somebody's finger.
  let shown = live.innerHTML;
  function replaceScreen(fresh) {
    const source = fresh.innerHTML;
    if (source === shown) return;
    shown = source;
    live.replaceChildren(...fresh.childNodes);
  }

  // One fetch after the other: an older answer must not come after a newer one.
  let running = null;
  let again = false;
  function refresh() {
    again = true;
    running ??= (async () => {
      while (again) {
        again = false;
        await fetchOnce();
      }
      running = null;
    })();
    return running;
  }

  async function fetchOnce() {
    const text = await fetch(location.href, { headers: { "X-Refresh": "1" } })
      .then((response) => (response.ok ? response.text() : ""))
      .catch(() => "");
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (!fresh) return;
    const list = live.querySelector("[data-thread]");
    const freshList = fresh.querySelector("[data-thread]");
    if (!list || !freshList) {
      replaceScreen(fresh);
      return;
    }
    const count = list.querySelectorAll("[data-msgid]").length;
    merge(list, freshList);
    if (list.querySelectorAll("[data-msgid]").length !== count) toEnd();
  }

  // What the sandbox answers; {error} also when it does not answer at all. Every error is shown to the person.
  async function act(what, body) {
    const thread = live.querySelector("[data-thread]").dataset.thread;
    let answer;
    try {
      const response = await fetch(`/phone/chat/${thread}/${what}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      answer = await response.json();
    } catch {
      answer = { error: complaint.dataset.silence };
    }
    complain(answer.error || "");
    return answer;
  }

  function selected(card) {
    const chosen = {};
    card.querySelectorAll("[data-question]").forEach((input) => {
      const key = input.dataset.question;
      chosen[key] = chosen[key] || [];
      if (input.matches("select") || input.checked) chosen[key].push(input.value);
    });
    return chosen;
  }

  // For a minute after a tap the QR page knows that the phone's holder need not be asked again.
  function tapped() {
    document.cookie = "sandbox_tapped=1; path=/; max-age=60; samesite=lax";
  }

  live.addEventListener("click", async (event) => {
    if (event.target.closest('a[target="_blank"]')) tapped();
    const button = event.target.closest("button[data-key]");
    if (!button || button.hasAttribute("aria-busy")) return;
    const card = button.closest("[data-card]");
    // Not disabled: that would take the keyboard away from it.
    button.setAttribute("aria-busy", "true");
    const isMenu = button.closest(".tcard-menu") !== null;
    await act("click", {
      msgid: button.closest("[data-msgid]").dataset.msgid,
      key: button.dataset.key,
      selected: isMenu ? {} : selected(card),
    });
    button.removeAttribute("aria-busy");
    const menu = button.closest("details");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    await refresh();
  });

  document.querySelectorAll("[data-menu]").forEach((button) => {
    button.addEventListener("click", async () => {
      const answer = await act("menu", { path: button.dataset.menu.split(",").map(Number) });
      const menu = button.closest("details");
      if (menu) menu.open = false;
      if (answer.url) {
        tapped();
        window.open(answer.url, "_blank", "noopener,noreferrer");
      }
    });
  });

  const form = document.getElementById("write");
  if (form) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const input = form.elements.text;
      if (!input.value.trim()) return;
      const answer = await act("write", { text: input.value });
      if (answer.error) return;
      input.value = "";
      await refresh();
    });
  }

  let source = null;
  function listen() {
    source = new EventSource("/phone/events");
    source.addEventListener("message", refresh);
    // Nobody told of what changed between this page and its first line, or while the line was down.
    source.addEventListener("open", refresh);
    // Chromium tries a lost connection again by itself, but not where it was answered with something else.
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
    });
  }
  listen();
  window.addEventListener("pagehide", () => source.close());
  live.querySelectorAll("[data-msgid]").forEach((line) => sources.set(line, line.outerHTML));
  toEnd();
})();
