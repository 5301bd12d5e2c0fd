// What asks the server by itself on the pages of the administration, each part by its attribute:
// [data-live] follows what happens in the background, [data-live-form] begins it in place, [data-diagnosis] the checks
// of a company, and [data-unsaved-test] tries a form as it stands. No inline script, no library.
"use strict";
(() => {
  const LIVE_MS = 1500;
  const RETRY_MS = 2000;
  const FAILURES_AT_MOST = 5;

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const jsonOf = async (url, options) => {
    const headers = { Accept: "application/json" };
    const response = await fetch(url, { ...options, headers, credentials: "same-origin" });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    return response.json();
  };

  // `poll` gives the milliseconds until it is to be called again, 0 when it is done. After `failuresAtMost` in a row
  // `failed` takes the last error. It ends without a word once it is not current any more.
  const follow = async (poll, { firstMs, retryMs, failuresAtMost = 1, isCurrent = () => true, failed }) => {
    let waitMs = firstMs;
    let failures = 0;
    do {
      await pause(waitMs);
      if (!isCurrent()) return;
      try {
        waitMs = await poll();
        failures = 0;
      } catch (error) {
        failures += 1;
        if (failures >= failuresAtMost) return isCurrent() ? failed(error) : undefined;
        waitMs = retryMs;
      }
    } while (waitMs);
  };

  const contentOf = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template;
  };

  const paragraph = (className, textContent) => Object.assign(document.createElement("p"), { className, textContent });

  // Where nothing but the seconds so far have changed ([data-elapsed]), they alone: a screen reader, which reads what
  // is new, is not to read all of it each second.
  const showHtml = (place, html) => {
    const old = place.querySelector("[data-elapsed]");
    const fresh = contentOf(html);
    const anew = fresh.content.querySelector("[data-elapsed]");
    if (old && anew) old.textContent = anew.textContent;
    if (place.innerHTML.trim() !== fresh.innerHTML.trim()) place.innerHTML = html;
  };

  // --- [data-live]: asks data-url while it is unfinished, every data-every milliseconds, but not while nobody looks. An
  // answer's `parts` are put into the elements with these ids.
  const live = (part) => {
    const everyMs = Number(part.dataset.every ?? LIVE_MS);
    const shown = new Map();

    // As the browser writes it, so that only what has changed is put in: who copies or types there is not disturbed.
    const showPart = (id, html) => {
      const element = document.getElementById(id);
      if (!element) return;
      const anew = contentOf(html).innerHTML.trim();
      if ((shown.get(id) ?? element.innerHTML.trim()) !== anew) {
        const open = new Set([...element.querySelectorAll("details[open]")].map((detail) => detail.dataset.key));
        element.innerHTML = anew;
        for (const detail of element.querySelectorAll("details[data-key]")) detail.open ||= open.has(detail.dataset.key);
      }
      shown.set(id, anew);
    };

    const poll = async () => {
      if (document.hidden) return everyMs;
      const answer = await jsonOf(part.dataset.url);
      showHtml(part, answer.html);
      for (const [id, html] of Object.entries(answer.parts ?? {})) showPart(id, html);
      if (answer.is_unfinished) return everyMs;
      delete part.dataset.unfinished;
      part.dispatchEvent(new Event("live-end", { bubbles: true }));
      return 0;
    };

    const failed = () => {
      const words = paragraph("problem", part.dataset.failed);
      words.setAttribute("role", "alert");
      part.append(words);
    };

    if ("unfinished" in part.dataset)
      follow(poll, { firstMs: everyMs, retryMs: everyMs, failuresAtMost: FAILURES_AT_MOST, failed });
  };

  // --- [data-live-form]: its answer is shown in the element with this id, and followed there by the answer's `url`.
  // Where that cannot be, the form is sent as without this script.
  const beginInPlace = async (form, submitter) => {
    const place = document.getElementById(form.dataset.liveForm);
    try {
      const answer = await jsonOf(form.action, { method: "POST", body: new FormData(form, submitter) });
      showHtml(place, answer.html);
      // The button may stand outside of the folded part that shows the answer.
      for (let part = place.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
      place.scrollIntoView({ block: "nearest" });
      place.dataset.url = answer.url;
      if (!answer.is_unfinished) return;
      place.dataset.unfinished = "";
      live(place);
    } catch {
      form.submit();
    }
  };

  document.addEventListener("submit", (event) => {
    if (!document.getElementById(event.target.dataset.liveForm ?? "")) return;
    event.preventDefault();
    beginInPlace(event.target, event.submitter);
  });

  // --- [data-diagnosis]: starts checks, follows them while they run or are to be tried again.
  const focusOf = (element) => {
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.dataset.copy) return `[data-copy="${CSS.escape(element.dataset.copy)}"]`;
    return element.localName === "summary" ? "summary" : "button[name=check]";
  };

  // Only what differs is replaced, so that an open detail, a selection or the focus elsewhere stays.
  const put = (part, html, shown) => {
    if (!part || shown.get(part) === html) return;
    const isFirst = !shown.has(part);
    shown.set(part, html);
    const fresh = contentOf(html);
    if (isFirst && fresh.content.textContent === part.textContent && fresh.innerHTML === part.innerHTML) return;
    const focused = part.contains(document.activeElement) ? focusOf(document.activeElement) : null;
    const open = new Set([...part.querySelectorAll("details[open]")].map((detail) => detail.dataset.key));
    part.replaceChildren(fresh.content);
    for (const detail of part.querySelectorAll("details")) detail.open = open.has(detail.dataset.key);
    if (focused) part.querySelector(focused)?.focus();
  };

  const diagnosis = (panel) => {
    const shown = new WeakMap();
    let loops = 0;

    const tell = (text) => {
      const notes = panel.querySelector("[data-diagnosis-notes]");
      notes.textContent = text;
      notes.hidden = !text;
    };

    const show = (answer) => {
      for (const row of answer.rows) put(panel.querySelector(`[data-check="${row.name}"]`), row.html, shown);
      put(panel.querySelector("[data-diagnosis-summary]"), answer.summary, shown);
      put(document.querySelector("[data-corp-state]"), answer.state, shown);
      for (const [id, html] of Object.entries(answer.parts)) put(document.getElementById(id), html, shown);
      for (const part of document.querySelectorAll("[data-reasons]")) put(part, answer.reasons, shown);
      if (answer.notes) tell(answer.notes.join(" "));
    };

    // One loop for the page: a start ends the one before it.
    const keepPolling = (firstMs) => {
      const number = (loops += 1);
      const isCurrent = () => number === loops;
      const poll = async () => {
        const answer = await jsonOf(panel.dataset.url);
        if (!isCurrent()) return 0;
        show(answer);
        return answer.next_ms;
      };
      const failed = () => tell(panel.dataset.failed);
      if (firstMs)
        follow(poll, { firstMs, retryMs: RETRY_MS, failuresAtMost: FAILURES_AT_MOST, isCurrent, failed });
    };

    const start = async (form, submitter) => {
      // Why not `disabled`? A button that is disabled loses the focus.
      if (submitter?.ariaDisabled) return;
      keepPolling(0);
      const body = new FormData(form, submitter);
      if (submitter) submitter.ariaDisabled = "true";
      try {
        const answer = await jsonOf(form.action, { method: "POST", body });
        show(answer);
        keepPolling(answer.next_ms);
      } catch {
        tell(panel.dataset.failed);
      } finally {
        if (submitter) submitter.ariaDisabled = null;
      }
    };

    document.addEventListener("submit", (event) => {
      if (!event.target.matches("[data-diagnosis-form]")) return;
      event.preventDefault();
      start(event.target, event.submitter);
    });
    // What ended elsewhere on the page may have begun checks.
    document.addEventListener("live-end", () => keepPolling(LIVE_MS));
    keepPolling(Number(panel.dataset.next));
  };

  // --- [data-unsaved-test]: tries the form around it as it stands, at its button, and by itself once all fields that it
  // needs (data-needs) are filled in and left. What was typed meanwhile waits for the next time.
  const unsavedTest = (box) => {
    const form = box.closest("form");
    const place = box.querySelector("[data-unsaved-test-place]");
    const needed = box.dataset.needs.split(" ").filter(Boolean);
    let number = 0;

    const begin = () => {
      const mine = (number += 1);
      const isCurrent = () => mine === number;
      const body = new FormData(form);
      body.set("_id", box.dataset.id);
      let url = "";
      const poll = async () => {
        const answer = url ? await jsonOf(url) : await jsonOf(box.dataset.url, { method: "POST", body });
        if (!isCurrent()) return 0;
        url = answer.url;
        showHtml(place, answer.html);
        return answer.is_unfinished ? LIVE_MS : 0;
      };
      const failed = () => place.replaceChildren(paragraph("problem", box.dataset.failed));
      follow(poll, { firstMs: 0, isCurrent, failed });
    };

    const values = () => needed.map((name) => form.elements[name]?.value.trim() ?? "");
    let tried = JSON.stringify(values());
    form.addEventListener("change", (event) => {
      const now = values();
      if (!needed.includes(event.target.name) || now.includes("") || JSON.stringify(now) === tried) return;
      tried = JSON.stringify(now);
      begin();
    });
    box.querySelector("[data-unsaved-test-button]").addEventListener("click", begin);
    box.hidden = false;
  };

  const PARTS = {
    "[data-live]": live,
    "[data-diagnosis]": diagnosis,
    "[data-unsaved-test]": unsavedTest,
  };
  document.addEventListener("DOMContentLoaded", () => {
    for (const [selector, begin] of Object.entries(PARTS)) document.querySelectorAll(selector).forEach((part) => begin(part));
  });
})();
