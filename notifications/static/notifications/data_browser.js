// Chooses data: cards that are here already, and those of the BI by their pages.
"use strict";
// `page`: of one_page.js. `take`: gets the key and the name of the chosen card. `takePicture`: gets what is to be pictured
// (a page or a card), its ID in the BI and its name; where there is none, pictures are not offered.
window.beginDataBrowser = (page, browser, take, takePicture) => {
  const { find, post, problem, later, words, TYPING_MS, POLL_MS } = page;
  const choices = find("[data-choices]", browser);
  const search = find("[data-search]", browser);
  let biPage = "";
  // While the BI lists, the page only looks again: the BI is not asked anew.
  const browse = async ({ isPoll = false } = {}) => {
    const body = new FormData();
    if (isPoll) body.set("poll", "1");
    body.set("q", search.value);
    body.set("page", biPage);
    if (takePicture) body.set("pictures", "1");
    const wanted = `${biPage}\n${search.value}`;
    try {
      const found = await post(browser.dataset.url, body);
      if (wanted !== `${biPage}\n${search.value}`) return;
      choices.innerHTML = found.html;
      if (found.is_unfinished) setTimeout(() => browse({ isPoll: true }), POLL_MS);
    } catch {
      choices.replaceChildren(problem(words.failed));
    }
  };
  const choose = async (button) => {
    const body = new FormData();
    body.set("page", button.dataset.biPage);
    body.set("card", button.dataset.biCard);
    button.disabled = true;
    try {
      const made = await post(browser.dataset.chooseUrl, body);
      take(String(made.id), made.name);
    } catch {
      choices.prepend(problem(words.failed));
    }
    button.disabled = false;
  };
  search.addEventListener("input", later(TYPING_MS, () => browse()));
  search.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  choices.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.page !== undefined) {
      biPage = button.dataset.page;
      search.value = "";
      await browse();
      search.focus();
    } else if (button.dataset.card) take(button.dataset.card, button.dataset.name);
    else if (button.dataset.biCard) await choose(button);
    else if (button.dataset.picture) takePicture(button.dataset.picture, button.dataset.id, button.dataset.name);
    if (!browser.open) find("summary", browser).focus(); // the button is folded away
  });
  // A card that was made in a window of Django's admin, which tells jQuery only.
  const made = find("[data-new-card]", browser);
  django.jQuery(made).on("change", (event) => {
    event.stopPropagation();
    if (made.value) take(made.value, made.selectedOptions[0].textContent);
  });
  document.addEventListener("errand:back", () => browse());
  browse();
};
