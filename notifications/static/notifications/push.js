// The page of a push: what is chosen, the preview beside the form, and who with what part of the page.
// Without this script the page is a form with all its fields, and its buttons work.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const beside = document.querySelector("[data-push]");
  const form = document.getElementById("subscription_form");
  const browser = form?.querySelector("[data-browser]");
  if (!beside || !browser) return; // somebody who may not write the content

  const page = onePage(beside, form);
  const { find, showHtml, words } = page;
  const rows = formRows(form);
  const onChange = (milliseconds) => changed(milliseconds);

  // --- 1 Data ---
  const cards = () =>
    rows
      .live("report_cards")
      .map((row) => ({ row, id: rows.field(row, "card").value, alias: rows.field(row, "alias").value }))
      .filter((one) => one.id && one.alias);
  const nameOf = ({ row, alias }) =>
    rows.field(row, "title").value || rows.field(row, "card").selectedOptions[0]?.textContent || alias;
  const reserved = new Set(words.reserved.split(" "));
  const aliasFor = (name) => {
    const taken = new Set(cards().map((one) => one.alias));
    const plain = name.normalize("NFKC").replace(/[^\p{L}\p{N}_]/gu, "").slice(0, 28);
    const base = /^\p{L}/u.test(plain) && !reserved.has(plain) ? plain : `card${plain}`.slice(0, 28);
    let alias = base;
    for (let number = 2; taken.has(alias); number += 1) alias = `${base}${number}`;
    return alias;
  };
  const remove = (card) => {
    rows.remove(card.row);
    for (const prefix of ["charts", "own_rows_rules"]) {
      for (const row of rows.live(prefix)) if (rows.field(row, "alias").value === card.alias) rows.remove(row);
    }
    changed();
  };
  const picture = pagePicture({ find, onChange: () => changed(0) });
  const takePicture = (kind, id, name) => {
    page.nameAs(name);
    message.beginWith(name);
    browser.open = false;
    picture.take(kind, id, name);
  };
  const showChosen = () => {
    const chosen = cards().map((one) => ({ name: nameOf(one), remove: () => remove(one) }));
    const pictured = picture.chosen();
    if (pictured) chosen.push({ name: `${words.picture}${pictured.name}`, remove: pictured.remove });
    page.showChosen(chosen);
    picture.show?.();
    const isBegun = chosen.length > 0 || message.hasTexts();
    find("[data-words-offer]").hidden = isBegun;
    find("[data-first-data]").hidden = isBegun;
    find("[data-texts]").hidden = !isBegun;
  };
  const take = (id, name) => {
    if (!cards().length) page.nameAs(name);
    browser.open = false;
    rows.add("report_cards", { card: id, card_label: name, alias: aliasFor(name), position: cards().length });
    changed();
  };

  const message = pushMessage({ page, rows, cards, onChange });
  const ownRows = ownRowsSwitch({ find, rows, cards, onChange: () => changed(0) });
  const renaming = pageRenaming({ page, form, onChange: () => changed(0) });
  const chooser = personChooser(find("[data-as]", beside), () => refresh());

  const at = find("[data-at]", beside);
  at.addEventListener("input", page.later(page.TYPING_MS, () => refresh()));

  // --- Beside the form; on a narrow page behind a bar at its foot ---
  const bar = find("[data-phone-bar]", beside);
  bar.addEventListener("click", () => bar.setAttribute("aria-expanded", String(beside.classList.toggle("is-open"))));
  const show = (found) => {
    const phone = find("[data-phone]", beside);
    const isPageOpen = Boolean(phone.querySelector("[data-message-page]")?.open);
    if (!found.token || !phone.querySelector(".phone:not([aria-hidden])")) page.showDrawn(phone, found.message);
    phone.querySelector("[data-message-page]")?.toggleAttribute("open", isPageOpen);
    showHtml(find("[data-sample]"), found.rows);
    showHtml(find("[data-outlook-place]"), found.who);
    showHtml(find("[data-times]"), found.times);
    renaming.show(found.missing);
    const limits = find("[data-limits]", beside);
    if (limits.textContent !== (found.limits ?? "")) limits.textContent = found.limits ?? "";
    find("[data-again-offer]").hidden = !cards().length;
    message.showTexts(found);
    chooser.show(found.as);
    if (found.token) return;
    message.offer(found);
    ownRows.offer(found.columns, found.pair);
  };
  const refresh = page.beginPreview({
    keyOf: () =>
      cards()
        .map((one) => one.id)
        .join(),
    addTo: (body) => {
      body.set("_person", chooser.value());
      body.set("_at", at.value);
    },
    show,
    failed: () => {
      message.uncover();
      find("[data-phone]", beside).replaceChildren(page.problem(words.failed));
    },
  });
  const changed = page.watch({ refresh, onChange: showChosen, isOwn: (target) => message.isOwn(target) || renaming.isOwn(target) || target.name === "try_on" });
  find("[data-again]").addEventListener("click", () => refresh({ isAnew: true }));
  page.beginProblems(message.standIn);

  showChosen();
  browser.open = !cards().length && !picture.chosen();
  beginDataBrowser(page, browser, take, picture.offered ? takePicture : undefined);
  refresh();
});
