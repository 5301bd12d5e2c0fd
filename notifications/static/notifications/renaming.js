// Columns and cards that the data does not have any more: what they are called today is put in all of the page.
"use strict";
// `onChange`: called after the fields of the form were changed.
window.pageRenaming = ({ page, form, onChange }) => {
  const { find, problem, words } = page;
  const missing = find("[data-missing]");
  missing.addEventListener("click", async (event) => {
    if (!event.target.closest("[data-rename]")) return;
    const body = new FormData(form);
    for (const select of missing.querySelectorAll("select")) {
      if (!select.value) continue;
      body.append("_alias", select.dataset.alias);
      body.append("_from", select.dataset.from);
      body.append("_to", select.value);
    }
    try {
      const { changes } = await page.post(words.renameUrl, body);
      for (const [name, value] of Object.entries(changes)) form.elements[name].value = value;
      onChange();
    } catch {
      missing.prepend(problem(words.failed));
    }
  });
  return { show: (html) => page.showHtml(missing, html), isOwn: (target) => target.matches("[data-missing] *") };
};
