// The subscription's form: shows only the fields that the chosen way of writing a schedule needs. Without this script
// all of them are shown, and the server looks at the same ones.
"use strict";
(() => {
  const NEEDED = {
    once: ["on_date", "local_time"],
    daily: ["local_time"],
    workdays: ["local_time"],
    weekly: ["weekdays", "local_time"],
    monthly: ["month_day", "local_time"],
    crontab: ["crontab"],
  };
  const FIELDS = ["on_date", "weekdays", "month_day", "crontab", "local_time"];

  const start = () => {
    const choice = document.getElementById("id_repeat");
    if (!choice) return;
    const show = () => {
      const needed = NEEDED[choice.value] ?? []; // often: every ten minutes
      for (const name of FIELDS) {
        const row = document.querySelector(`.form-row.field-${name}`);
        if (row) row.hidden = !needed.includes(name);
      }
    };
    choice.addEventListener("change", show);
    show();
  };

  document.addEventListener("DOMContentLoaded", start);
})();
