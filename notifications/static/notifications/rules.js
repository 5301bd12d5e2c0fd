// The subscription's form: a button that adds an empty attribute rule. Without this script saving gives empty ones.
"use strict";
(() => {
  const begin = (box) => {
    const rows = () => box.querySelectorAll(".attribute-rule");
    const most = Number(box.dataset.most);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = `+ ${box.dataset.add}`;

    const add = () => {
      const number = rows().length;
      const row = rows()[number - 1].cloneNode(true);
      row.setAttribute("aria-label", box.dataset.label.replace("{number}", number + 1));
      for (const field of row.querySelectorAll("select, input")) {
        field.name = `${box.dataset.rules}-${number}-${field.name.split("-").pop()}`;
        if (field.id) field.id = field.id.replace(/-\d+-/, `-${number}-`);
        if (field.tagName === "SELECT") field.selectedIndex = 0;
        else field.value = "";
      }
      button.before(row);
      row.querySelector("select").focus();
      button.hidden = number + 1 >= most;
    };

    button.addEventListener("click", add);
    button.hidden = rows().length >= most;
    box.append(button);
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-rules]").forEach(begin));
})();
