// Draws the cards of a dashboard as their data comes, one request for each.
"use strict";
for (const box of document.querySelectorAll("[data-draw]")) {
  fetch(box.dataset.draw)
    .then((response) => (response.ok ? response.text() : Promise.reject(new Error(response.status))))
    .then((html) => {
      box.innerHTML = html;
      box.removeAttribute("aria-busy");
      box.className = "";
    })
    .catch(() => {
      box.textContent = "×";
    });
}
