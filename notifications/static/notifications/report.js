// A report's page: shows the report as the form stands, over data that is fetched now, and its pictures and files as
// their workers make them (making.js). No inline script, no library.
"use strict";
(() => {
  let looks = 0;

  const start = () => {
    const box = document.querySelector("[data-look]");
    const form = document.getElementById("report_form");
    if (!box || !form) return;
    const button = box.querySelector("[data-look-button]");
    const place = box.querySelector("[data-look-place]");

    button.addEventListener("click", async () => {
      const number = (looks += 1);
      const values = new FormData(form);
      for (const name of ["form", "as", "at", "zone"]) values.set(`_${name}`, box.querySelector(`[data-look-${name}]`).value);
      button.disabled = true;
      place.replaceChildren(
        Object.assign(document.createElement("p"), { className: "help", textContent: box.dataset.fetching }),
        document.createElement("progress"),
      );
      place.lastChild.setAttribute("aria-label", box.dataset.fetching);
      try {
        const response = await fetch(box.dataset.url, { method: "POST", body: values, credentials: "same-origin" });
        if (!response.ok) throw new Error(String(response.status));
        place.innerHTML = (await response.json()).html;
        for (const each of place.querySelectorAll("[data-making]")) followMaking(each, box.dataset, () => number === looks);
      } catch {
        place.textContent = box.dataset.failed;
      } finally {
        button.disabled = false;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
