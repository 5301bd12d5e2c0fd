// The console's forms: fields into JSON, the answer (or the complaint) beside the button.
"use strict";
(() => {
  const readers = {
    number: (text) => Number(text),
    "number-or-null": (text) => (text === "" ? null : Number(text)),
    "number-if-any": (text) => (text === "" ? undefined : Number(text)),
    numbers: (text) => split(text, /[,，;\s]+/).map(Number),
    texts: (text) => split(text, /[,，;\s]+/),
    semicolons: (text) => split(text, /;/),
  };

  function split(text, separator) {
    return text
      .split(separator)
      .map((one) => one.trim())
      .filter(Boolean);
  }

  // Names with a dot make nested objects: "scope.partyids".
  function read(form) {
    const result = {};
    for (const field of form.elements) {
      if (!field.name) continue;
      const reader = readers[field.dataset.kind] || ((text) => text);
      const value = field.type === "checkbox" ? field.checked : reader(field.value);
      if (value === undefined) continue;
      const [outer, inner] = field.name.split(".");
      if (inner) result[outer] = { ...result[outer], [inner]: value };
      else result[outer] = value;
    }
    return result;
  }

  function outputOf(element) {
    return (element.closest("form") || element.closest(".block") || document).querySelector("output");
  }

  function show(element, text, failed) {
    const output = outputOf(element);
    if (!output) return;
    output.textContent = text;
    output.className = failed ? "error" : "ok";
  }

  async function call(element, method, url, body, resultName) {
    const response = await fetch(url, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) show(element, answer.error, true);
    else if (resultName) {
      show(element, answer[resultName] || "✓", Boolean(answer[resultName]));
      if (!answer[resultName]) setTimeout(() => location.reload(), 600);
    } else location.reload();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.url) return;
    event.preventDefault();
    const body = read(form);
    call(form, form.dataset.method, form.dataset.url, "list" in form.dataset ? [body] : body);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-post], button[data-delete]");
    if (!button) return;
    // Destructive acts say what will happen.
    if (button.dataset.sure && !window.confirm(button.dataset.sure)) return;
    if (button.dataset.delete) call(button, "DELETE", button.dataset.delete, {});
    else call(button, "POST", button.dataset.post, {}, button.dataset.result);
  });
})();
