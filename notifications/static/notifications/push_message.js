// The message of a push: starting points made from the data, editors with labels, and figures and dates to insert.
"use strict";
// `page`: of one_page.js. `rows`: of form_rows.js. `cards`: gives the chosen cards. `onChange`: called after a change, with
// the milliseconds until it is looked at.
window.pushMessage = ({ page, rows, cards, onChange }) => {
  const { find, make, words } = page;
  const NAMES = ["title", "body", "figures"];
  const isTemplate = find("#id_is_template");
  const sources = Object.fromEntries(NAMES.map((name) => [name, find(`#id_${name}`)]));
  const spoken = { chip: words.chip, inserted: words.inserted, deleted: words.deleted };
  const editors = Object.fromEntries(
    NAMES.map((name) => {
      const label = find(`label[for="id_${name}"]`);
      return [name, new TemplateEditor(sources[name], label, () => isTemplate.checked, spoken)];
    }),
  );
  const all = Object.values(editors);
  let lastEditor = editors.body;
  for (const editor of all) editor.box.addEventListener("focus", () => (lastEditor = editor));
  document.addEventListener("selectionchange", () => lastEditor.remember());
  isTemplate.addEventListener("change", () => all.forEach((editor) => editor.forget()));

  const uncover = () => find("[data-texts]").removeAttribute("aria-busy");
  let isOpened = false;
  const hasTexts = () => isOpened || NAMES.some((name) => sources[name].value.trim());
  find("[data-words-only]").addEventListener("click", () => {
    isOpened = true;
    onChange();
    (editors.title.isUsable ? editors.title.box : sources.title).focus();
  });

  // Of a picture alone: its name as title and text, as a card with the picture as its cover.
  const beginWith = (name) => {
    if (hasTexts() || cards().length) return;
    sources.title.value = sources.body.value = name;
    isTemplate.checked = false;
    find("#id_message_form").value = "news";
    isOpened = true;
  };

  // --- Starting points ---
  const points = find("[data-points]");
  const formChoice = find("#id_message_form");
  const withFigures = new Set(words.formsWithFigures.split(" "));
  let knownPoints = [];
  // The point whose texts stand here: its key, the card that it is of, and the texts.
  let begun = null;
  const textsOf = (point) => ({
    title: point.title,
    body: withFigures.has(formChoice.value) ? point.body : point.plain_body,
    figures: point.figures,
  });
  const write = (texts) => NAMES.forEach((name) => (sources[name].value = texts[name]));
  const isUntouched = () => Boolean(begun) && NAMES.every((name) => sources[name].value === begun.texts[name]);
  const showPressed = () => {
    for (const button of points.querySelectorAll("[data-point]"))
      button.setAttribute("aria-pressed", String(button.dataset.point === begun?.key));
  };
  const begin = (point) => {
    const [first] = cards();
    formChoice.value = point.message_form;
    isTemplate.checked = true;
    begun = { key: point.key, alias: first.alias, texts: textsOf(point) };
    write(begun.texts);
    rows.live("charts").forEach(rows.remove);
    point.charts.forEach((chart, position) => rows.add("charts", { ...chart, alias: first.alias, position }));
    showPressed();
    onChange(0);
  };
  points.addEventListener("click", (event) => {
    const button = event.target.closest("[data-point]");
    const point = button && knownPoints.find((one) => one.key === button.dataset.point);
    if (point && !point.lacks) begin(point);
  });
  // Another form, as long as nothing was written, gets the figures into its text, or out of it.
  formChoice.addEventListener("change", () => {
    const point = isUntouched() && knownPoints.find((one) => one.key === begun.key);
    if (!point) return;
    begun.texts = textsOf(point);
    write(begun.texts);
  });
  // What was chosen becomes a whole message at once, unless somebody has written one.
  const offerPoints = (offered, start) => {
    knownPoints = offered;
    points.hidden = !offered.length;
    for (const point of offered) {
      const button = find(`[data-point="${point.key}"]`, points);
      button.disabled = Boolean(point.lacks);
    }
    const lacking = offered.filter((one) => one.lacks);
    const lacks = find("[data-lacks]");
    lacks.hidden = !lacking.length;
    lacks.textContent = lacking.map((one) => `${one.label}: ${one.lacks}`).join(" ");
    const point = offered.find((one) => one.key === start);
    const isOfOtherData = isUntouched() && begun.alias !== cards()[0]?.alias;
    if (point && (!hasTexts() || isOfOtherData)) begin(point);
  };

  // --- Figures and dates: first the column, then what of it ---
  const what = find("[data-insert-what]");
  const part = find("[data-insert-of]");
  const format = find("[data-insert-format]");
  // So many can be looked through without a search.
  const FEW_COLUMNS = 40;
  const search = find("[data-insert-search]");
  let columns = [];
  const column = () => columns[what.value];
  const picked = () => column()?.groups.flatMap((group) => group.fields)[part.value];
  const showPicked = () => {
    find("[data-insert-shown]").hidden = !picked()?.template.endsWith("|thousands }}");
    find("[data-insert-button]").hidden = !picked();
  };
  const listParts = () => {
    let number = 0;
    const lists = (column()?.groups ?? []).map((group) => {
      const list = make("optgroup", { label: group.label });
      list.append(...group.fields.map((one) => new Option(one.label, number++)));
      return list;
    });
    part.replaceChildren(...lists);
    part.hidden = !lists.length;
    showPicked();
  };
  const listColumns = () => {
    const before = what.value;
    const wanted = search.hidden ? "" : search.value.trim().toLowerCase();
    const lists = new Map();
    columns.forEach((one, index) => {
      if (!one.label.toLowerCase().includes(wanted)) return;
      if (!lists.has(one.card)) lists.set(one.card, make("optgroup", { label: one.card || words.days }));
      lists.get(one.card).append(new Option(one.label, index));
    });
    what.replaceChildren(new Option(words.insertHint, ""), ...lists.values());
    const found = [...what.options].filter((one) => one.value);
    const isKept = found.some((one) => one.value === before);
    what.value = isKept ? before : wanted && found.length ? found[0].value : "";
    if (!isKept || !part.options.length) listParts();
  };
  const offerFields = (offered) => {
    if (JSON.stringify(offered) === JSON.stringify(columns)) return;
    columns = offered;
    search.hidden = columns.length <= FEW_COLUMNS;
    listColumns();
    listParts();
    find("[data-insert]").hidden = !columns.length;
  };
  search.addEventListener("input", listColumns);
  search.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  what.addEventListener("change", listParts);
  part.addEventListener("change", showPicked);
  const formatted = ({ template }) => template.replace(/\|thousands \}\}$/, format.value ? `|${format.value} }}` : " }}");
  find("[data-insert-button]").addEventListener("click", () => {
    const found = picked();
    if (!found) return what.focus();
    const template = formatted(found);
    // A plain text becomes a template: its braces stay what they are.
    if (!isTemplate.checked) {
      isTemplate.checked = true;
      for (const editor of all) if (editor.isUsable) editor.write();
    }
    const isFitting = lastEditor.isUsable && !(lastEditor.isOneLine && template.includes("\n"));
    (isFitting ? lastEditor : editors.body).insert({ label: found.label, template });
  });

  return {
    hasTexts,
    beginWith,
    isOwn: (target) => target.matches("[data-insert] *"),
    standIn: (target) => all.find((one) => one.source === target && one.isUsable)?.box ?? target,
    // Until the first answer the texts are covered, because they stand in the page as code.
    uncover,
    showTexts: (found) => {
      uncover();
      NAMES.forEach((name) => editors[name].show(found.parts[name], found.sources[name]));
    },
    offer: (found) => {
      offerPoints(found.points, found.start);
      offerFields(found.fields);
    },
  };
};
