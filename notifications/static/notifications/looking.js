// The page of a report or an alert rule: shows the form as it stands over data that workers fetch, with the time that it
// takes, and then its pictures and files as their workers make them (making.js). No inline script, no library.
"use strict";
(() => {
  const POLL_MS = 1000;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // The form's values, and what is chosen beside it.
  const valuesOf = (box) => {
    const values = new FormData(document.getElementById(box.dataset.form));
    for (const field of box.querySelectorAll("[name]")) values.set(field.name, field.value);
    return values;
  };

  const answerTo = async (box, values) => {
    const response = await fetch(box.dataset.url, { method: "POST", body: values, credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  };

  // Until the answer names nothing to ask for again. What was typed meanwhile waits for the next press of the button.
  const look = async (box, place, isCurrent) => {
    const values = valuesOf(box);
    for (;;) {
      const found = await answerTo(box, values);
      if (!isCurrent()) return;
      showHtml(place, found.html);
      if (!found.asked) return;
      values.set("_asked", found.asked);
      await pause(POLL_MS);
      if (!isCurrent()) return;
    }
  };

  const start = () => {
    const box = document.querySelector("[data-look]");
    if (!box || !document.getElementById(box.dataset.form)) return;
    const place = box.querySelector("[data-look-place]");
    let looks = 0;

    box.querySelector("[data-look-button]").addEventListener("click", async () => {
      const number = (looks += 1);
      const isCurrent = () => number === looks;
      place.replaceChildren(
        Object.assign(document.createElement("p"), { className: "help", textContent: box.dataset.fetching }),
      );
      try {
        await look(box, place, isCurrent);
        if (!isCurrent()) return;
        for (const each of place.querySelectorAll("[data-making]")) followMaking(each, box.dataset, isCurrent);
      } catch {
        if (isCurrent()) place.textContent = box.dataset.failed;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
