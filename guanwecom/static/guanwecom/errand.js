// The way back from a page that was opened from a form to bring what the form lacks, and the form's look at what is there
// when one comes back. The form stays open meanwhile, with all that was typed.
"use strict";
(() => {
  const words = document.currentScript.dataset;

  const opener = () => {
    try {
      return window.opener?.document.querySelector("[data-way-out], [data-browser]") ? window.opener : null;
    } catch {
      return null; // of another site
    }
  };

  const offerReturn = (form) => {
    const title = form.document.querySelector("#content h1")?.textContent.trim() ?? "";
    const bar = Object.assign(document.createElement("p"), { className: "errand", role: "note" });
    const button = Object.assign(document.createElement("button"), { type: "button", className: "button" });
    button.textContent = words.back.replace("{}", title);
    button.addEventListener("click", () => window.close());
    bar.append(`${words.open} `, button);
    document.getElementById("content")?.prepend(bar);
  };

  // What the page would say now: lines that are no longer needed go, and selects get what there is to choose.
  const lookAgain = async () => {
    document.dispatchEvent(new CustomEvent("errand:back"));
    const response = await fetch(location.href, { credentials: "same-origin" });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const line of document.querySelectorAll("[data-way-out]")) {
      const id = CSS.escape(line.dataset.wayOut);
      const found = fresh.querySelector(`[data-way-out="${id}"]`);
      if (found) line.innerHTML = found.innerHTML;
      else line.remove();
      const select = document.querySelector(`select#${id}`);
      const known = new Set([...(select?.options ?? [])].map((one) => one.value));
      for (const one of fresh.querySelectorAll(`select#${id} option`)) if (!known.has(one.value)) select.append(one);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const isPopup = document.querySelector("[name=_popup]");
    const form = isPopup ? null : opener();
    if (form) offerReturn(form);
    let isAway = false;
    document.addEventListener("click", (event) => {
      if (event.target.closest("[data-way-out] a, [data-choices] a, [data-outlook-place] a")) isAway = true;
    });
    window.addEventListener("focus", () => {
      if (isAway) lookAgain();
      isAway = false;
    });
  });
})();
