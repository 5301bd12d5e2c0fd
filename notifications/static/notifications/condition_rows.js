// The conditions of an alert rule: shows what a comparison needs, empties and adds rows. Without this script every row
// has all its fields, and saving gives an empty one more.
"use strict";
(() => {
  const two = ["between", "outside"];
  const none = ["null", "changed"];

  const fit = (row) => {
    const chosen = row.querySelector("[name$='-comparison']").value;
    row.querySelector("[name$='-value']").hidden = none.includes(chosen);
    row.querySelector("[name$='-second']").hidden = !two.includes(chosen);
  };

  const empty = (row) => {
    for (const field of row.querySelectorAll("input")) field.value = "";
    for (const field of row.querySelectorAll("select")) field.selectedIndex = 0;
    row.classList.remove("condition-row-wrong");
    row.querySelector(".condition-problem")?.remove();
    const first = row.querySelector("select");
    first.removeAttribute("aria-invalid");
    first.removeAttribute("aria-describedby");
    fit(row);
  };

  const begin = (box) => {
    const rows = () => box.querySelectorAll(".condition-row");
    const most = Number(box.dataset.most);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = `+ ${box.dataset.add}`;

    const dress = (row) => {
      const remover = document.createElement("button");
      remover.type = "button";
      remover.className = "button condition-remove";
      remover.textContent = "×";
      remover.setAttribute("aria-label", box.dataset.remove);
      row.append(remover);
      fit(row);
    };

    const add = () => {
      const number = rows().length;
      const row = rows()[number - 1].cloneNode(true);
      row.setAttribute("aria-label", box.dataset.label.replace("{number}", number + 1));
      for (const field of row.querySelectorAll("select, input")) {
        field.name = `${box.dataset.conditions}-${number}-${field.name.split("-").pop()}`;
        if (field.id) field.id = field.id.replace(/-\d+-/, `-${number}-`);
      }
      empty(row);
      button.before(row);
      row.querySelector("select").focus();
      button.hidden = number + 1 >= most;
    };

    box.addEventListener("change", (event) => {
      const row = event.target.closest(".condition-row");
      if (row) fit(row);
    });
    box.addEventListener("click", (event) => {
      if (event.target.classList.contains("condition-remove")) empty(event.target.closest(".condition-row"));
    });
    rows().forEach(dress);
    button.addEventListener("click", add);
    button.hidden = rows().length >= most;
    box.append(button);
  };

  document.addEventListener("DOMContentLoaded", () =>
    document.querySelectorAll("[data-conditions]").forEach(begin)
  );
})();
