// Parts of a page that follow what happens in the background: [data-live] asks data-url while it is unfinished, every
// data-every milliseconds, but not while nobody looks. An answer's `parts` are put into the elements with these ids.
// After some failures in a row it stops and says data-failed.
"use strict";
(() => {
  const POLL_MS = 1500;
  const FAILURES_AT_MOST = 5;

  // As the browser writes it, so that only what has changed is put in: who copies or types there is not disturbed.
  const written = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.innerHTML;
  };
  const shown = new Map();

  // Where nothing but the seconds so far have changed ([data-elapsed]), they alone: a screen reader, which reads what
  // is new, is not to read all of it each second.
  window.showHtml = (place, html) => {
    const [old] = place.querySelectorAll("[data-elapsed]");
    const template = document.createElement("template");
    template.innerHTML = html;
    const anew = template.content.querySelector("[data-elapsed]");
    if (old && anew) old.textContent = anew.textContent;
    if (place.innerHTML.trim() !== template.innerHTML.trim()) place.innerHTML = html;
  };

  const answerOf = async (part) => {
    const response = await fetch(part.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    return response.json();
  };

  const show = (part, answer) => {
    showHtml(part, answer.html);
    for (const [id, html] of Object.entries(answer.parts ?? {})) {
      const element = document.getElementById(id);
      if (!element) continue;
      const anew = written(html).trim();
      if ((shown.get(id) ?? element.innerHTML.trim()) !== anew) element.innerHTML = anew;
      shown.set(id, anew);
    }
    if (!answer.is_unfinished) delete part.dataset.unfinished;
  };

  const tellFailed = (part) => {
    const words = document.createElement("p");
    words.className = "problem";
    words.setAttribute("role", "alert");
    words.textContent = part.dataset.failed;
    part.append(words);
  };

  const follow = async (part) => {
    let failures = 0;
    while ("unfinished" in part.dataset && failures < FAILURES_AT_MOST) {
      await new Promise((resolve) => setTimeout(resolve, Number(part.dataset.every ?? POLL_MS)));
      if (document.hidden) continue;
      try {
        show(part, await answerOf(part));
        failures = 0;
      } catch {
        failures += 1;
      }
    }
    if (failures) tellFailed(part);
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll("[data-live]")) follow(part);
  });
})();
