// Parts of a page that follow what happens in the background: [data-live] asks data-url while it is unfinished.
"use strict";
(() => {
  const POLL_MS = 1500;

  const follow = async (part) => {
    while ("unfinished" in part.dataset) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const response = await fetch(part.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (!response.ok || response.redirected) return;
      const answer = await response.json();
      part.innerHTML = answer.html;
      if (!answer.is_unfinished) delete part.dataset.unfinished;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll("[data-live]")) follow(part).catch(() => {});
  });
})();
