// The alert rule's page: tries the form as it stands on live data, and shows pictures of it as they are made
// (making.js). No inline script, no library.
"use strict";
(() => {
  const start = () => {
    const button = document.querySelector("[data-try]");
    const panel = document.querySelector("[data-trial]");
    const form = document.getElementById("alertrule_form");
    if (!button || !panel || !form) return;
    let trials = 0;
    button.addEventListener("click", async () => {
      const number = (trials += 1);
      const values = new FormData(form);
      if (button.dataset.id) values.set("_id", button.dataset.id);
      button.disabled = true;
      try {
        const response = await fetch(button.dataset.url, { method: "POST", body: values, credentials: "same-origin" });
        if (!response.ok) throw new Error(String(response.status));
        panel.innerHTML = (await response.json()).html;
        for (const place of panel.querySelectorAll("[data-making]")) followMaking(place, button.dataset, () => number === trials);
      } catch {
        panel.textContent = button.dataset.failed;
      } finally {
        button.disabled = false;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
