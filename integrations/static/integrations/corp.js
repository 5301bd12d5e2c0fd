// The corp's page: copy buttons, and the live result of a connection test. No inline script, no library.
"use strict";
(() => {
  const POLL_MS = 1000;

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

  const jsonOf = async (url, options) => {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  };

  const follow = async (result, first) => {
    try {
      for (let answer = await first; ; answer = await jsonOf(result.dataset.url)) {
        if (result.innerHTML !== answer.html) result.innerHTML = answer.html;
        const state = document.querySelector("[data-corp-state]");
        if (state.innerHTML !== answer.state) state.innerHTML = answer.state;
        if (!answer.is_unfinished) return;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch {
      result.textContent = result.dataset.failed;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const result = document.querySelector("[data-test-result]");
    if (!result) return;
    if ("unfinished" in result.dataset) follow(result, jsonOf(result.dataset.url));
    const form = document.querySelector("[data-test-form]");
    if (!form) return;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      await follow(result, jsonOf(form.action, { method: "POST", body: new FormData(form) }));
      button.disabled = false;
    });
  });
})();
