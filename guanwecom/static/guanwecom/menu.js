// The menu on narrow screens: folded behind a button. Without scripts it stands open. And drop-downs: a click elsewhere
// or Escape closes them.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector("[data-menu-button]");
  if (!button) return;
  const menu = document.getElementById("menu");
  button.hidden = false;
  menu.dataset.folded = "";
  button.addEventListener("click", () => {
    const isOpen = menu.toggleAttribute("data-folded") === false;
    button.setAttribute("aria-expanded", String(isOpen));
  });
});
for (const event of ["click", "keydown"]) {
  document.addEventListener(event, ({ target, key }) => {
    if (event === "keydown" && key !== "Escape") return;
    // A click in the list of a select, which stands elsewhere, does not close the try.
    const drops = event === "click" ? "details.filter[open]" : "details:is(.filter, .try-on)[open]";
    for (const open of document.querySelectorAll(drops)) {
      if (event === "click" && open.contains(target)) continue;
      open.open = false;
      if (event === "keydown" && open.contains(target)) open.firstElementChild.focus();
    }
  });
}
