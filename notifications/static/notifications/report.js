// A report's page: shows the report as the form stands, over data that is fetched now, and its pictures and files as
// their workers make them. No inline script, no library.
"use strict";
(() => {
  const POLL_MS = 700;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let looks = 0;

  const made = (place, found) => {
    if (found.kind !== "picture") {
      const link = Object.assign(document.createElement("a"), { href: found.address, textContent: place.dataset.open });
      place.replaceChildren(link);
      return;
    }
    const { address: src, width, height } = found;
    const picture = Object.assign(new Image(width, height), { alt: place.dataset.alt, src });
    place.classList.remove("phone-no-picture");
    place.replaceChildren(picture);
  };

  const failed = (place, words) => {
    place.replaceChildren(Object.assign(document.createElement("p"), { className: "problem", textContent: words }));
  };

  const follow = async (place, box, number) => {
    for (;;) {
      await pause(POLL_MS);
      if (number !== looks || !place.isConnected) return;
      let found;
      try {
        const response = await fetch(place.dataset.making, { credentials: "same-origin" });
        if (response.status === 404) return failed(place, box.dataset.forgotten);
        if (!response.ok) throw new Error(String(response.status));
        found = await response.json();
      } catch {
        return failed(place, box.dataset.failed);
      }
      if (number !== looks) return;
      if (found.address) return made(place, found);
      if (found.problem) return failed(place, found.problem);
      place.querySelector("[data-making-seconds]").textContent = `${found.seconds} ${box.dataset.seconds}`;
    }
  };

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
        for (const each of place.querySelectorAll("[data-making]")) follow(each, box, number);
      } catch {
        place.textContent = box.dataset.failed;
      } finally {
        button.disabled = false;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
