// The menu on narrow screens: folded behind a button. Without scripts it stands open.
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
