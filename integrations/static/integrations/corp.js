// The corp's page: copy buttons, and the builder of links. No inline script, no library.
"use strict";
(() => {
  const copyText = async (input) => {
    // The clipboard interface exists on https and localhost only; the older way works everywhere else.
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(input.value);
    } else {
      input.select();
      document.execCommand("copy");
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const label = button.textContent;
    await copyText(document.getElementById(button.dataset.copy));
    button.textContent = button.dataset.copied;
    button.disabled = true;
    setTimeout(() => {
      button.textContent = label;
      button.disabled = false;
    }, 1500);
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
