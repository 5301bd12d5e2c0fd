// The corp's page: its parts, copy buttons, and the builder of links. No inline script, no library.
"use strict";
(() => {
  // The place that the address names is opened, and its tab is the current one. Styles alone show the tab's part.
  const showPlace = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = place?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    const tabs = [...document.querySelectorAll("[data-part-tabs] a")];
    const named = tabs.map((tab) => document.getElementById(tab.hash.slice(1)));
    const nearest = place ? named.filter((part) => part.contains(place)).at(-1) : undefined;
    const isAdvanced = place?.id === "advanced" || place?.closest(".only-advanced");
    const shown = isAdvanced ? document.getElementById("advanced") : nearest ?? document.querySelector(".panel-first");
    tabs.forEach((tab, number) => {
      if (named[number] === shown) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    });
  };
  window.addEventListener("hashchange", showPlace);
  document.addEventListener("DOMContentLoaded", showPlace);

  // Whether it worked: browsers and companies' policies may refuse. Then the value stays selected, to be copied by hand.
  const copyText = async (input) => {
    // The clipboard interface exists on https and localhost only; the older way works everywhere else.
    if (navigator.clipboard && window.isSecureContext) {
      try {
        await navigator.clipboard.writeText(input.value);
        return true;
      } catch {
        // refused: the older way
      }
    }
    input.focus();
    input.select();
    return document.execCommand("copy");
  };

  // Why not disabled meanwhile? Who works by keyboard would lose the place.
  const labels = new WeakMap();
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button || !(await copyText(document.getElementById(button.dataset.copy)))) return;
    button.focus();
    if (labels.has(button)) return;
    labels.set(button, button.textContent);
    button.textContent = button.dataset.copied;
    setTimeout(() => {
      button.textContent = labels.get(button);
      labels.delete(button);
    }, 1500);
  });

  // A card chosen in a tab of its own: its values go into the form that opened the tab, which then closes.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-chosen]");
    const fields = window.opener?.document.getElementById("card_form")?.elements;
    if (!button || !fields) return;
    const { name, ...ids } = JSON.parse(button.dataset.chosen);
    if (!fields.name.value) fields.name.value = name;
    for (const [field, value] of Object.entries(ids)) {
      fields[field].value = value;
      fields[field].dispatchEvent(new Event("change", { bubbles: true }));
    }
    window.close();
  });

  const jsonOf = async (url) => {
    const response = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    return response.json();
  };

  // The builder of links: the server makes the link; without this script its answer is a page of its own.
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-link-form]");
    if (!form) return;
    event.preventDefault();
    const part = form.closest("[data-link]");
    try {
      const answer = await jsonOf(`${form.action}?${new URLSearchParams(new FormData(form))}`);
      part.innerHTML = answer.html;
      part.querySelector("[data-copy], [aria-invalid]").focus();
    } catch {
      form.submit();
    }
  });
})();
