// The page of an alert rule: choosing its card, columns from a list, and the trial beside the form after each change.
// Without this script the page is a form with all its fields, and its buttons work.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const beside = document.querySelector("[data-rule]");
  const form = document.getElementById("alertrule_form");
  if (!beside || !form) return;
  const page = onePage(beside, form);
  const { find, make, showHtml, words } = page;

  // --- 1 Data ---
  const card = find("#id_card");
  const browser = find("[data-browser]");
  const cardRow = find(".field-card");
  if (!cardRow.matches(".errors")) cardRow.hidden = true;
  const showChosen = () => {
    const isChosen = Boolean(card.value);
    const remove = () => {
      card.value = "";
      browser.open = true;
      changed();
    };
    page.showChosen(isChosen ? [{ name: card.selectedOptions[0].textContent, remove }] : []);
    const isBegun = isChosen || rows().some((row) => part(row, "aggregate").value);
    find("[data-first-data]").hidden = isBegun;
    find("[data-conditions]").hidden = !isBegun;
  };
  const take = (id, name) => {
    if (![...card.options].some((one) => one.value === id)) card.append(new Option(name, id));
    card.value = id;
    browser.open = false;
    page.nameAs(name);
    changed(0);
  };
  browser.open = !card.value;
  beginDataBrowser(page, browser, take);

  // --- 2 Conditions: columns are chosen from those of the data, once it is there ---
  const rows = () => [...form.querySelectorAll(".condition-row")];
  const part = (row, name) => row.querySelector(`[name$="-${name}"]`);
  const columnSelect = (input) => {
    const select = make("select", { name: input.name, ariaLabel: input.ariaLabel });
    input.replaceWith(select);
    return select;
  };
  const drawn = new WeakMap();
  const offerColumns = (columns) => {
    const names = columns.map(([name]) => name);
    for (const row of rows()) {
      const before = part(row, "column");
      const { value } = before;
      const known = value && !names.includes(value) ? [value, ...names] : names;
      const isFocused = document.activeElement === before;
      const select = before.tagName === "SELECT" ? before : columnSelect(before);
      select.id = `id_${select.name}`;
      offerChoices(select, ["", ...known].map((name) => new Option(name || words.column, name)));
      select.value = value;
      // What is drawn refers to the row by its number.
      if (drawn.get(select)?.id === select.id) drawn.get(select).redraw();
      else drawn.set(select, { id: select.id, ...searchingSelect(select) });
      if (isFocused) find("[role=combobox]", select.nextElementSibling).focus();
    }
  };

  const choices = rowChoices({
    page,
    words: { ...find("[data-conditions]").dataset, remove: words.remove },
    onChange: () => changed(),
  });
  const offerRows = (found) => {
    const timed = found.columns.filter(([, kind]) => kind === "date" || kind === "datetime").map(([name]) => name);
    for (const row of rows()) {
      const isDate = timed.includes(part(row, "column").value) && ["any", "all"].includes(part(row, "aggregate").value);
      choices.drawFilters(part(row, "filters"), { columns: found.columns, dates: found.dates, values: found.values });
      for (const name of ["value", "second"]) choices.offerDates(part(row, name), isDate, found.dates);
    }
  };

  let offered = null;
  const offer = (found) => {
    offered = found;
    offerColumns(found.columns);
    offerRows(found);
  };
  find("[data-rows]", find("[data-conditions]")).addEventListener("rows:changed", () => offered && offer(offered));

  // --- The threshold on the picture of the last days ---
  const thresholdOf = (number) => part(rows()[number], "value");
  const picture = thresholdPicture(find("[data-past]"), {
    take: (number, text) => {
      thresholdOf(number).value = text;
      changed();
    },
  });
  const showPast = (past) => {
    const field = past && thresholdOf(past.row);
    // What was typed since then counts.
    const typed = field && Number(field.value.replaceAll(",", ""));
    const threshold = field?.value && Number.isFinite(typed) ? typed : past?.threshold;
    picture.show(past && { ...past, threshold }, { isSeveral: rows().length > 1 });
  };

  // --- Beside the form ---
  const show = (found) => {
    page.showDrawn(find("[data-trial]", beside), found.message);
    showHtml(find("[data-sample]"), found.rows);
    renaming.show(found.missing);
    showHtml(find("[data-outlook-place]", beside), found.outlook);
    find("[data-no-columns]").hidden = !card.value || Boolean(found.token) || found.columns.length > 0;
    if (found.columns.length) offer(found);
    showPast(found.past);
  };
  const refresh = page.beginPreview({
    keyOf: () => card.value,
    show,
    failed: () => find("[data-trial]", beside).replaceChildren(page.problem(words.failed)),
  });
  const changed = page.watch({
    refresh,
    onChange: showChosen,
    isOwn: (target) => target.matches("[data-missing] *, .filter-choice *, .date-choice *"),
  });
  const renaming = pageRenaming({ page, form, onChange: () => changed(0) });
  page.beginProblems();
  find("[data-again]").addEventListener("click", () => refresh({ isAnew: true }));
  showChosen();
  refresh();
});
