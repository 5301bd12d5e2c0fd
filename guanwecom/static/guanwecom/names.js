// Names for what Django's admin leaves without one to those who do not see its place: the cells of a table of rows,
// the two halves of a date and time, the searching selects; and words for its icons.
"use strict";
(() => {
  const words = document.currentScript.dataset;
  const textOf = (element) => element?.textContent.replace(/\s+/g, " ").trim().replace(/[:：]$/, "") ?? "";
  const isNamed = (control) => control.labels?.length || control.ariaLabel || control.getAttribute("aria-labelledby");

  const nameCells = (root) => {
    for (const cell of root.querySelectorAll(".tabular td")) {
      const column = [...cell.classList].find((name) => name.startsWith("field-"))?.replace("field-", "column-");
      const index = [...cell.parentElement.children].indexOf(cell);
      const heads = cell.closest("table").tHead?.rows[0];
      const head = heads && ([...heads.cells].find((one) => column && one.classList.contains(column)) ?? heads.lastElementChild);
      if (index < 1 || !head) continue;
      cell.dataset.label = textOf(head);
      for (const control of cell.querySelectorAll("input:not([type=hidden]), select, textarea")) {
        if (!isNamed(control)) control.ariaLabel = textOf(head);
      }
    }
  };

  const nameDates = (root) => {
    for (const control of root.querySelectorAll(".datetime input")) {
      if (isNamed(control)) continue;
      const field = control.closest(".form-row, fieldset");
      control.ariaLabel = `${textOf(field?.querySelector("legend, label"))} ${textOf(control.previousSibling)}`.trim();
    }
  };

  const nameSelects = (root) => {
    for (const select of root.querySelectorAll("select.admin-autocomplete, select.searching-select")) {
      const name = textOf(select.labels?.[0]) || select.ariaLabel;
      const next = select.nextElementSibling;
      const widget = next?.matches(".select2") ? next : select.parentElement.querySelector(".select2");
      if (!name || !widget) continue;
      // The button that empties it stands among the items of the list.
      widget.querySelector("ul > .select2-selection__clear")?.setAttribute("role", "listitem");
      const parts = [...widget.querySelectorAll("[role=combobox], [role=textbox], [role=searchbox]")];
      // Where one may be chosen, the field to search in stands elsewhere, while the list is open.
      const opened = widget.querySelector("[role=combobox][aria-owns]");
      const list = opened?.getAttribute("aria-owns");
      if (list) opened.setAttribute("aria-controls", list); // as ARIA says it since version 1.2
      const search = list && document.getElementById(list)?.closest(".select2-dropdown")?.querySelector("[role=searchbox]");
      for (const part of search ? [...parts, search] : parts) {
        // It refers to what is chosen, which may be nothing; the name stands before it.
        part.removeAttribute("aria-labelledby");
        part.ariaLabel = [name, part.matches("[role=combobox], [role=textbox]") && chosenIn(select)].filter(Boolean).join(" ");
      }
    }
  };
  // Before they are drawn: an empty box says what it is for.
  const explainSelects = (root) => {
    for (const select of root.querySelectorAll("select.admin-autocomplete[multiple]")) select.dataset.placeholder ||= words.choose;
  };
  const chosenIn = (select) => [...select.selectedOptions].map(textOf).join(", ");

  // A word stands in the place of Django's icons for yes and no, which have a name in English alone.
  const nameIcons = (root) => {
    const icons = { 'img[alt="True"]': words.yes, 'img[alt="False"]': words.no, 'img[alt="None"]': words.unknown };
    for (const [icon, word] of Object.entries(icons)) {
      for (const image of root.querySelectorAll(icon)) image.replaceWith(word);
    }
  };

  // On a phone the rows of a list are cards without a head: there a number, a time or a yes is told by its column's name.
  const nameValues = (root) => {
    for (const cell of root.querySelectorAll(":is(#result_list, .cards) tbody td")) {
      const text = textOf(cell);
      const head = cell.closest("table").tHead?.rows[0].cells[cell.cellIndex];
      if (/^[-—]$/.test(text)) cell.classList.add("blank");
      else if (head && cell.cellIndex && (/^[\d,.: -]+$|\d{4}-\d\d-\d\d/.test(text) || [words.yes, words.no].includes(text))) cell.dataset.label = textOf(head);
    }
  };

  // Numbers stand one below the other: a column that holds nothing else is aligned at its end.
  const alignNumbers = (root) => {
    for (const head of root.querySelectorAll("#result_list thead th")) {
      const cells = [...head.closest("table").tBodies[0].rows].map((row) => row.cells[head.cellIndex]).filter((cell) => cell && !cell.matches(".blank"));
      if (!cells.length || !cells.every((cell) => cell.matches("td") && /^[\d,]+$/.test(textOf(cell)))) continue;
      for (const cell of [head, ...[...head.closest("table").tBodies[0].rows].map((row) => row.cells[head.cellIndex])]) cell.classList.add("n");
    }
  };

  // Django names the box of a row by the object's own text, which people may not know: a row is called what it shows.
  const nameRows = (root) => {
    for (const box of root.querySelectorAll("#result_list .action-select")) {
      const name = textOf(box.closest("tr").querySelector("th"));
      if (name) box.ariaLabel = words.row.replace("{}", name);
    }
  };

  // A browser names the button of a file in its own language: one in the page's language lies under it.
  const nameFiles = (root) => {
    for (const input of root.querySelectorAll('input[type="file"]')) {
      const isFocused = input.autofocus || document.activeElement === input;
      const [box, button, name] = ["span", "span", "span"].map((tag) => document.createElement(tag));
      const tell = () => { name.textContent = [...input.files].map((file) => file.name).join(", ") || words.noFile; };
      [box.className, button.className, name.className] = ["file-choice", "button", "meta"];
      button.textContent = words.file;
      button.setAttribute("aria-hidden", "true");
      name.setAttribute("aria-hidden", "true");
      input.before(box);
      box.append(input, button, name);
      input.addEventListener("change", tell);
      tell();
      if (isFocused) input.focus();
    }
  };

  // Django writes dashes for "nothing chosen".
  const nameBlanks = (root) => {
    for (const option of root.querySelectorAll('option[value=""]')) {
      if (/^-+$/.test(option.text)) option.text = words.none;
    }
  };

  explainSelects(document);
  document.addEventListener("DOMContentLoaded", () => {
    nameIcons(document);
    nameValues(document);
    alignNumbers(document);
    nameRows(document);
    nameFiles(document);
    nameBlanks(document);
    nameCells(document);
    nameDates(document);
    nameSelects(document);
    document.addEventListener("formset:added", (event) => nameCells(event.target.parentElement));
    // The selects are made after the page, and draw themselves anew with each choice.
    new MutationObserver((changes) => {
      const isSelect = (node) => node instanceof Element && /\bselect2/.test(node.className);
      if (changes.some((change) => isSelect(change.target) || [...change.addedNodes].some(isSelect))) nameSelects(document);
    }).observe(document.body, { childList: true, subtree: true });
  });
})();
