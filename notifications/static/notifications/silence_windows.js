// An alert rule's silence windows: of each only the fields that its kind needs. Without this script all of them are
// shown, and the server looks at the same ones.
"use strict";
(() => {
  const KIND = "select[name^='silence_windows-'][name$='-kind']";
  const ROWS = { weekly: [".field-weekdays", ".field-from_time"], once: [".field-starts_at"] };

  const fit = (select) => {
    const needed = ROWS[select.value];
    const box = select.closest(".inline-related");
    for (const selector of Object.values(ROWS).flat()) {
      box.querySelector(`.form-row${selector}`).hidden = !needed.includes(selector);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(KIND).forEach(fit);
    document.addEventListener("change", (event) => {
      if (event.target.matches(KIND)) fit(event.target);
    });
  });
})();
