// A report's page: shows the report as the form stands, over data that is fetched now. No inline script, no library.
"use strict";
(() => {
  const start = () => {
    const box = document.querySelector("[data-look]");
    const form = document.getElementById("report_form");
    if (!box || !form) return;
    const button = box.querySelector("[data-look-button]");
    const place = box.querySelector("[data-look-place]");

    button.addEventListener("click", async () => {
      const values = new FormData(form);
      values.set("_form", box.querySelector("[data-look-form]").value);
      values.set("_as", box.querySelector("[data-look-as]").value);
      values.set("_at", box.querySelector("[data-look-at]").value);
      button.disabled = true;
      try {
        const response = await fetch(box.dataset.url, { method: "POST", body: values, credentials: "same-origin" });
        if (!response.ok) throw new Error(String(response.status));
        place.innerHTML = (await response.json()).html;
      } catch {
        place.textContent = box.dataset.failed;
      } finally {
        button.disabled = false;
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
