// The diagnosis of a company: starts checks, follows them while they run or are to be tried again. No inline script.
"use strict";
(() => {
  // After a failed look the page tries again so often before it says that it lost its connection.
  const LOOKS_AT_MOST = 5;
  const WAIT_AFTER_FAILURE_MS = 2000;

  const jsonOf = async (url, options) => {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    return response.json();
  };

  // Only what differs is replaced, so that an open detail, a selection or the focus elsewhere stays.
  const shown = new WeakMap();
  const put = (part, html) => {
    if (!part || shown.get(part) === html) return;
    const isFirst = !shown.has(part);
    shown.set(part, html);
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    if (isFirst && fresh.content.textContent === part.textContent && fresh.innerHTML === part.innerHTML) return;
    const focused = part.contains(document.activeElement) ? focusOf(document.activeElement) : null;
    const open = new Set([...part.querySelectorAll("details[open]")].map((detail) => detail.dataset.key));
    part.replaceChildren(fresh.content);
    for (const detail of part.querySelectorAll("details")) detail.open = open.has(detail.dataset.key);
    if (focused) part.querySelector(focused)?.focus();
  };
  const focusOf = (element) => {
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.dataset.copy) return `[data-copy="${CSS.escape(element.dataset.copy)}"]`;
    return element.localName === "summary" ? "summary" : "button[name=check]";
  };

  const show = (panel, answer) => {
    for (const row of answer.rows) put(panel.querySelector(`[data-check="${row.name}"]`), row.html);
    put(panel.querySelector("[data-diagnosis-summary]"), answer.summary);
    put(document.querySelector("[data-corp-state]"), answer.state);
    for (const part of document.querySelectorAll("[data-reasons]")) put(part, answer.reasons);
    if (answer.notes) tell(panel, answer.notes.join(" "));
  };

  const tell = (panel, text) => {
    const notes = panel.querySelector("[data-diagnosis-notes]");
    notes.textContent = text;
    notes.hidden = !text;
  };

  // One loop for the page; a start while it waits makes it look at once.
  let timer = null;
  let failures = 0;
  const lookIn = (panel, milliseconds) => {
    clearTimeout(timer);
    timer = milliseconds ? setTimeout(() => look(panel), milliseconds) : null;
  };
  const look = async (panel) => {
    try {
      const answer = await jsonOf(panel.dataset.url);
      if (failures) tell(panel, "");
      failures = 0;
      show(panel, answer);
      lookIn(panel, answer.next_ms);
    } catch {
      failures += 1;
      if (failures < LOOKS_AT_MOST) lookIn(panel, WAIT_AFTER_FAILURE_MS);
      else tell(panel, panel.dataset.failed);
    }
  };

  const start = async (panel, form, submitter) => {
    // Why not `disabled`? A button that is disabled loses the focus.
    if (submitter?.ariaDisabled) return;
    clearTimeout(timer);
    const body = new FormData(form, submitter);
    if (submitter) submitter.ariaDisabled = "true";
    try {
      const answer = await jsonOf(form.action, { method: "POST", body });
      failures = 0;
      show(panel, answer);
      lookIn(panel, answer.next_ms);
    } catch {
      tell(panel, panel.dataset.failed);
    } finally {
      if (submitter) submitter.ariaDisabled = null;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const panel = document.querySelector("[data-diagnosis]");
    if (!panel) return;
    document.addEventListener("submit", (event) => {
      if (!event.target.matches("[data-diagnosis-form]")) return;
      event.preventDefault();
      start(panel, event.target, event.submitter);
    });
    lookIn(panel, Number(panel.dataset.next));
  });
})();
