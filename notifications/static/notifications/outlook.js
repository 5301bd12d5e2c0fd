// The subscription's page: shows what the form as it stands would do. No inline script, no library.
"use strict";
(() => {
  const WAIT_MS = 400;

  const start = () => {
    const panel = document.querySelector("[data-outlook]");
    const form = document.getElementById("subscription_form");
    if (!panel || !form) return;
    let timer = 0;
    let asked = 0;

    const ask = async () => {
      const number = ++asked;
      const values = new FormData(form);
      if (panel.dataset.id) values.set("_id", panel.dataset.id);
      try {
        const response = await fetch(panel.dataset.url, { method: "POST", body: values, credentials: "same-origin" });
        if (!response.ok) throw new Error(String(response.status));
        const answer = await response.json();
        if (number === asked) panel.innerHTML = answer.html;
      } catch {
        if (number === asked) panel.textContent = panel.dataset.failed;
      }
    };
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(ask, WAIT_MS);
    };

    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
    // Select2 tells jQuery only.
    if (window.django && window.django.jQuery) window.django.jQuery(form).on("change", soon);
    if (!panel.dataset.id) ask();
  };

  document.addEventListener("DOMContentLoaded", start);
})();
