// Parts of a page that follow what happens in the background: [data-live] asks data-url while it is unfinished, every
// data-every milliseconds, but not while nobody looks. An answer's `parts` are put into the elements with these ids.
"use strict";
(() => {
  const POLL_MS = 1500;

  const follow = async (part) => {
    while ("unfinished" in part.dataset) {
      await new Promise((resolve) => setTimeout(resolve, Number(part.dataset.every ?? POLL_MS)));
      if (document.hidden) continue;
      const response = await fetch(part.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (!response.ok || response.redirected) return;
      const answer = await response.json();
      if (part.innerHTML.trim() !== answer.html.trim()) part.innerHTML = answer.html;
      for (const [id, html] of Object.entries(answer.parts ?? {})) {
        const element = document.getElementById(id);
        if (element && element.innerHTML !== html) element.innerHTML = html;
      }
      if (!answer.is_unfinished) delete part.dataset.unfinished;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll("[data-live]")) follow(part).catch(() => {});
  });
})();
