// A select whose choices the page has, with a search in it: drawn as the searching selects of Django's admin, which ask
// the server.
"use strict";
// So many choices can be looked through without a search.
const FEW_CHOICES = 10;
// `select`: its choices may be replaced at any time; `redraw` shows what is chosen then.
window.searchingSelect = (select) => {
  const widget = django.jQuery(select);
  // A page whose person may choose no people comes without Select2.
  if (!widget.select2) return { redraw: () => {} };
  const other = document.querySelector("select.admin-autocomplete");
  select.classList.add("searching-select");
  widget.select2({
    theme: "admin-autocomplete",
    language: other?.lang,
    minimumResultsForSearch: FEW_CHOICES,
    width: "style",
  });
  return { redraw: () => widget.trigger("change.select2") };
};

// Puts other choices in place. A list that is the same stays: somebody may have it open, and would choose from what is gone.
window.offerChoices = (select, offered) => {
  const written = (options) => JSON.stringify([...options].map((one) => [one.value, one.text]));
  if (written(offered) !== written(select.options)) select.replaceChildren(...offered);
};
