// Rows of a form: attribute rules, conditions. Buttons add an empty one and take one away. Without this script saving
// gives empty ones, and an emptied one is gone then. A box says "rows:changed" after its rows were.
"use strict";
(() => {
  const newButton = (text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = text;
    return button;
  };

  const empty = (row) => {
    for (const field of row.querySelectorAll("select, input")) {
      if (field.tagName === "SELECT") field.selectedIndex = 0;
      else field.value = "";
      field.removeAttribute("aria-invalid");
      field.removeAttribute("aria-describedby");
    }
    row.querySelector("[data-row-problem]")?.remove();
  };

  // Names, ids and labels count from the top, so that a row taken away leaves no gap.
  const count = (row, index, label) => {
    const counted = (text) => text.replace(/-\d+-/, `-${index}-`);
    row.setAttribute("aria-label", label.replace("{number}", index + 1));
    for (const field of row.querySelectorAll("select, input")) {
      field.name = counted(field.name);
      const words = field.getAttribute("aria-describedby");
      if (words) field.setAttribute("aria-describedby", counted(words));
    }
    for (const named of row.querySelectorAll("[id]")) named.id = counted(named.id);
  };

  const begin = (box) => {
    const { add: addLabel, remove: removeLabel, label } = box.dataset;
    const most = Number(box.dataset.most);
    const rows = () => [...box.querySelectorAll(":scope > [role='group']")];
    const adder = newButton(`+ ${addLabel}`);
    // Copied before other scripts draw anything in the rows.
    const pattern = rows().at(-1).cloneNode(true);
    empty(pattern);
    delete pattern.dataset.spare;

    const settle = (focused) => {
      rows().forEach((row, index) => count(row, index, label));
      adder.hidden = rows().length >= most;
      focused.querySelector("select").focus();
      focused.dispatchEvent(new Event("change", { bubbles: true }));
      box.dispatchEvent(new Event("rows:changed"));
    };

    const add = () => {
      const row = pattern.cloneNode(true);
      adder.before(row);
      settle(row);
    };

    // The only one is emptied: there is always one to fill in.
    const remove = (row) => {
      const neighbour = row.nextElementSibling?.matches("[role='group']") ? row.nextElementSibling : rows().at(-2);
      if (neighbour) row.remove();
      else empty(row);
      settle(neighbour || row);
    };

    // One to fill in without a script: here the button gives it.
    for (const row of rows()) if (row.matches("[data-spare]")) row.remove();
    for (const row of [...rows(), pattern]) {
      const remover = newButton("×");
      remover.dataset.removeRow = "";
      remover.setAttribute("aria-label", removeLabel);
      row.append(remover);
    }
    box.addEventListener("click", (event) => {
      if (event.target.closest("[data-remove-row]")) remove(event.target.closest("[role='group']"));
    });
    adder.addEventListener("click", add);
    adder.hidden = rows().length >= most;
    box.append(adder);
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-rows]").forEach(begin));
})();
