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
  let knownPoints = [];
  const begin = (point) => {
    find("#id_message_form").value = point.message_form;
    isTemplate.checked = true;
    for (const name of NAMES) sources[name].value = point[name];
    rows.live("charts").forEach(rows.remove);
    const [first] = cards();
    point.charts.forEach((chart, position) => rows.add("charts", { ...chart, alias: first.alias, position }));
    onChange(0);
  };
  points.addEventListener("click", (event) => {
    const button = event.target.closest("[data-point]");
    const point = button && knownPoints.find((one) => one.key === button.dataset.point);
    if (point && !point.lacks) begin(point);
  });
  const offerPoints = (offered) => {
    knownPoints = offered;
    points.hidden = !offered.length;
    for (const point of offered) {
      const button = find(`[data-point="${point.key}"]`, points);
      button.disabled = Boolean(point.lacks);
      find("[data-lacks]", button).textContent = point.lacks;
    }
  };

  // --- Figures and dates ---
  const what = find("[data-insert-what]");
  const format = find("[data-insert-format]");
  // So many can be looked through without a search.
  const FEW_FIELDS = 60;
  const search = find("[data-insert-search]");
  let groups = [];
  const listFields = () => {
    const before = what.value;
    const wanted = search.hidden ? "" : search.value.trim().toLowerCase();
    const lists = groups.map((group, place) => {
      const list = make("optgroup", { label: group.label });
      const found = group.fields.map((one, index) => new Option(one.label, `${place}:${index}`));
      list.append(...found.filter((one) => one.textContent.toLowerCase().includes(wanted)));
      return list;
    });
    what.replaceChildren(new Option(words.insertHint, ""), ...lists.filter((list) => list.children.length));
    what.value = [...what.options].some((one) => one.value === before) ? before : "";
  };
  const offerFields = (offered) => {
    groups = offered;
    search.hidden = groups.reduce((count, group) => count + group.fields.length, 0) <= FEW_FIELDS;
    listFields();
    find("[data-insert]").hidden = !groups.length;
  };
  search.addEventListener("input", listFields);
  search.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  const picked = () => {
    const [place, index] = what.value.split(":");
    return what.value ? { group: groups[place], field: groups[place].fields[index] } : null;
  };
  const formatted = ({ group, field }) => {
    const end = format.value ? `|${format.value} }}` : " }}";
    return group.is_number ? field.template.replace(/\|thousands \}\}$/, end) : field.template;
  };
  what.addEventListener("change", () => (format.disabled = !picked()?.group.is_number));
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
    (isFitting ? lastEditor : editors.body).insert({ label: found.field.label, template });
  });

  return {
    hasTexts,
    beginWith,
    isOwn: (target) => target.matches("[data-insert] *"),
    standIn: (target) => all.find((one) => one.source === target && one.isUsable)?.box ?? target,
    showTexts: (found) => NAMES.forEach((name) => editors[name].show(found.parts[name], found.sources[name])),
    offer: (found) => {
      offerPoints(found.points);
      offerFields(found.fields);
    },
  };
};
