// The phone is live: whenever something changes, the screen is fetched again; lines that did not change stay as they are.
"use strict";
(() => {
  const live = document.getElementById("live");
  const sources = new WeakMap();

  function remember() {
    live.querySelectorAll("[data-msgid]").forEach((line) => {
      if (!sources.has(line)) sources.set(line, line.outerHTML);
    });
  }

  function toEnd() {
    if (live.querySelector("[data-scroll-end]")) live.scrollTop = live.scrollHeight;
  }

  async function refresh() {
    const response = await fetch(location.href, { headers: { "X-Refresh": "1" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
    if (!fresh) return;
    const count = live.querySelectorAll("[data-msgid]").length;
    const old = new Map([...live.querySelectorAll("[data-msgid]")].map((line) => [line.dataset.msgid, line]));
    fresh.querySelectorAll("[data-msgid]").forEach((line) => {
      const known = old.get(line.dataset.msgid);
      // What somebody is just choosing in a card must not be lost.
      if (known && sources.get(known) === line.outerHTML) line.replaceWith(known);
    });
    live.replaceChildren(...fresh.childNodes);
    remember();
    if (live.querySelectorAll("[data-msgid]").length !== count) toEnd();
  }

  async function act(what, body) {
    const thread = live.querySelector("[data-thread]").dataset.thread;
    const response = await fetch(`/phone/chat/${thread}/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return response.json();
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
    if (!button) return;
    const card = button.closest("[data-card]");
    button.disabled = true;
    const isMenu = button.closest(".tcard-menu") !== null;
    await act("click", {
      msgid: button.closest("[data-msgid]").dataset.msgid,
      key: button.dataset.key,
      selected: isMenu ? {} : selected(card),
    });
    button.disabled = false;
    const menu = button.closest("details");
    if (menu) menu.open = false;
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
      await act("write", { text: input.value });
      input.value = "";
      await refresh();
    });
  }

  const source = new EventSource("/phone/events");
  source.addEventListener("message", refresh);
  window.addEventListener("pagehide", () => source.close());
  remember();
  toEnd();
})();
