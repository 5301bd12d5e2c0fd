// The conditions of an alert rule: of each row only the fields that its comparison needs. Without this script every row
// has all of them. Rows are added and removed by rows.js.
"use strict";
(() => {
  const TWO = ["between", "outside"];
  const NONE = ["null", "changed"];
  const AGAINST_A_DAY = ["fell", "rose"];

  const fit = (row) => {
    const chosen = row.querySelector("[name$='-comparison']").value;
    row.querySelector("[name$='-value']").hidden = NONE.includes(chosen);
    row.querySelector("[name$='-second']").hidden = !TWO.includes(chosen);
    for (const name of ["against", "unit"]) row.querySelector(`[name$='-${name}']`).hidden = !AGAINST_A_DAY.includes(chosen);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".condition-row").forEach(fit);
    document.addEventListener("change", (event) => {
      const row = event.target.closest(".condition-row");
      if (row) fit(row);
    });
  });
})();
