// The page of a push: choosing data, starting points, merge fields, the preview beside the form, and the draft.
// Without this script the page is a form with all its fields, and its buttons work.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const beside = document.querySelector("[data-push]");
  const form = document.getElementById("subscription_form");
  if (!beside || !form) return;
  const words = beside.dataset;
  const browser = form.querySelector("[data-browser]");
  if (!browser) return; // somebody who may not write the content

  const page = onePage(beside, form);
  const { find, make, showHtml, problem } = page;

  // --- Rows of the form that Django's admin makes: cards, charts, rules ---
  const rowsOf = (prefix) =>
    [...form.querySelectorAll(`[id^="${prefix}-"]`)].filter(
      (row) => /-\d+$/.test(row.id) && row.matches("tr, .inline-related") && !row.classList.contains("empty-form"),
    );
  const field = (row, name) => row.querySelector(`[name$="-${name}"]`);
  const isGone = (row) => field(row, "DELETE")?.checked || row.hidden;
  const liveRows = (prefix) => rowsOf(prefix).filter((row) => !isGone(row));
  const addRow = (prefix, values) => {
    const known = new Set(rowsOf(prefix));
    find(`#${prefix}-group .add-row a`)?.click();
    const row = rowsOf(prefix).find((each) => !known.has(each));
    if (!row) return null;
    for (const [name, value] of Object.entries(values)) {
      const control = field(row, name);
      if (!control) continue;
      if (control.tagName === "SELECT" && ![...control.options].some((one) => one.value === String(value))) {
        control.append(new Option(values[`${name}_label`] ?? value, value));
      }
      control.value = value;
    }
    return row;
  };
  const removeRow = (row) => {
    const box = field(row, "DELETE");
    if (box) {
      box.checked = true;
      row.hidden = true;
    } else find(".inline-deletelink", row)?.click();
  };

  // --- 1 Data ---
  const chosen = find("[data-chosen]");
  const cards = () =>
    liveRows("report_cards")
      .map((row) => ({ row, id: field(row, "card").value, alias: field(row, "alias").value }))
      .filter((one) => one.id && one.alias);
  const nameOf = (one) => {
    const select = field(one.row, "card");
    return field(one.row, "title").value || select.selectedOptions[0]?.textContent || one.alias;
  };
  const reserved = new Set(words.reserved.split(" "));
  const aliasFor = (name) => {
    const taken = new Set(cards().map((one) => one.alias));
    const plain = name.normalize("NFKC").replace(/[^\p{L}\p{N}_]/gu, "").slice(0, 28);
    const base = /^\p{L}/u.test(plain) && !reserved.has(plain) ? plain : `card${plain}`.slice(0, 28);
    let alias = base;
    for (let number = 2; taken.has(alias); number += 1) alias = `${base}${number}`;
    return alias;
  };
  const showChosen = () => {
    chosen.replaceChildren(
      ...cards().map((one) => {
        const item = make("li", { textContent: nameOf(one) });
        const button = make("button", { type: "button", textContent: "×", ariaLabel: `${words.remove}: ${nameOf(one)}` });
        button.addEventListener("click", () => {
          removeRow(one.row);
          for (const prefix of ["charts", "own_rows_rules"]) {
            for (const row of liveRows(prefix)) if (field(row, "alias").value === one.alias) removeRow(row);
          }
          changed();
        });
        item.append(button);
        return item;
      }),
    );
    const isWithData = cards().length > 0;
    const isBegun = isWithData || hasTexts();
    find("[data-words-offer]").hidden = isBegun;
    find("[data-first-data]").hidden = isBegun;
    find("[data-texts]").hidden = !isBegun;
  };
  const take = (id, name) => {
    const isFirst = !cards().length;
    browser.open = false;
    addRow("report_cards", { card: id, card_label: name, alias: aliasFor(name), position: cards().length });
    const title = find("#id_name");
    if (isFirst && !title.value) title.value = name.slice(0, 128);
    changed();
  };
  page.beginBrowser(browser, take);

  // --- 2 Message ---
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
  let lastEditor = editors.body;
  for (const editor of Object.values(editors)) editor.box.addEventListener("focus", () => (lastEditor = editor));
  document.addEventListener("selectionchange", () => lastEditor.remember());
  let isOpened = false;
  const hasTexts = () => isOpened || NAMES.some((name) => sources[name].value.trim());
  find("[data-words-only]").addEventListener("click", () => {
    isOpened = true;
    changed();
    (editors.title.isUsable ? editors.title.box : sources.title).focus();
  });
  const points = find("[data-points]");
  let knownPoints = [];
  points.addEventListener("click", (event) => {
    const button = event.target.closest("[data-point]");
    const point = button && knownPoints.find((one) => one.key === button.dataset.point);
    if (point && !point.lacks) begin(point);
  });
  const begin = (point) => {
    find("#id_message_form").value = point.message_form;
    isTemplate.checked = true;
    for (const name of NAMES) sources[name].value = point[name];
    for (const row of liveRows("charts")) removeRow(row);
    const [first] = cards();
    point.charts.forEach((chart, position) => addRow("charts", { ...chart, alias: first.alias, position }));
    changed(0);
  };
  const what = find("[data-insert-what]");
  const format = find("[data-insert-format]");
  let groups = [];
  const showFields = () => {
    const before = what.value;
    const placeholder = new Option(words.insertHint, "");
    what.replaceChildren(
      placeholder,
      ...groups.map((group, place) => {
        const list = make("optgroup", { label: group.label });
        list.append(...group.fields.map((one, index) => new Option(one.label, `${place}:${index}`)));
        return list;
      }),
    );
    what.value = [...what.options].some((one) => one.value === before) ? before : "";
    find("[data-insert]").hidden = !groups.length;
  };
  const picked = () => {
    const [place, index] = what.value.split(":");
    return what.value ? { group: groups[place], field: groups[place].fields[index] } : null;
  };
  what.addEventListener("change", () => (format.disabled = !picked()?.group.is_number));
  find("[data-insert-button]").addEventListener("click", () => {
    const found = picked();
    if (!found) return what.focus();
    const style = found.group.is_number ? format.value : "thousands";
    const template = found.group.is_number
      ? found.field.template.replace(/\|thousands \}\}$/, style ? `|${style} }}` : " }}")
      : found.field.template;
    // A plain text becomes a template: its braces stay what they are.
    if (!isTemplate.checked) {
      isTemplate.checked = true;
      for (const editor of Object.values(editors)) if (editor.isUsable) editor.write();
    }
    const isFitting = lastEditor.isUsable && !(lastEditor.isOneLine && template.includes("\n"));
    (isFitting ? lastEditor : editors.body).insert({ label: found.field.label, template });
  });

  // --- 3 To whom: own rows as one switch, kept in the first rule ---
  const own = find("[data-own-rows]");
  const ownBox = find("[data-own-rows-box]");
  const ownColumn = find("[data-own-rows-column]");
  const ownAttribute = find("[data-own-rows-attribute]");
  const rules = () => liveRows("own_rows_rules").filter((row) => field(row, "column").value);
  const offerOwnRows = (columns) => {
    const [first] = cards();
    const names = first ? (columns[first.alias] ?? []) : [];
    const [rule] = rules();
    own.hidden = !rule && !names.length;
    const column = rule ? field(rule, "column").value : ownColumn.value;
    ownColumn.replaceChildren(...[...new Set([...names, ...(column ? [column] : [])])].map((name) => new Option(name, name)));
    if (column) ownColumn.value = column;
    const attributes = find("#own_rows_rules-empty [name$='-attribute']") ?? find("[name^='own_rows_rules-'][name$='-attribute']");
    if (attributes && !ownAttribute.options.length) {
      ownAttribute.append(...[...attributes.options].filter((one) => one.value).map((one) => new Option(one.textContent, one.value)));
    }
    if (rule) ownAttribute.value = field(rule, "attribute").value;
    ownBox.checked = Boolean(rule);
    find("[data-own-rows-choice]").hidden = !rule;
  };
  const writeOwnRows = () => {
    const [rule] = rules();
    const [first] = cards();
    if (!ownBox.checked) rules().forEach(removeRow);
    else if (rule) {
      field(rule, "alias").value = first?.alias ?? field(rule, "alias").value;
      field(rule, "column").value = ownColumn.value;
      field(rule, "attribute").value = ownAttribute.value;
    } else if (first) {
      addRow("own_rows_rules", { alias: first.alias, column: ownColumn.value, attribute: ownAttribute.value });
    }
    find("[data-own-rows-choice]").hidden = !ownBox.checked;
    changed(0);
  };
  for (const control of [ownBox, ownColumn, ownAttribute]) control.addEventListener("change", writeOwnRows);

  // --- What the data is called today ---
  const missing = find("[data-missing]");
  missing.addEventListener("click", async (event) => {
    if (!event.target.closest("[data-rename]")) return;
    const body = new FormData(form);
    for (const select of missing.querySelectorAll("select")) {
      if (!select.value) continue;
      body.append("_alias", select.dataset.alias);
      body.append("_from", select.dataset.from);
      body.append("_to", select.value);
    }
    try {
      const { changes } = await page.post(words.renameUrl, body);
      for (const [name, value] of Object.entries(changes)) form.elements[name].value = value;
      changed(0);
    } catch {
      missing.prepend(problem(words.failed));
    }
  });

  // --- Beside the form ---
  let picture = 0;
  const show = (found) => {
    const phone = find("[data-phone]", beside);
    const before = phone.innerHTML;
    if (!found.token || !phone.querySelector(".phone")) showHtml(phone, found.phone);
    if (phone.innerHTML !== before) {
      const drawing = (picture += 1);
      page.makePictures(phone, () => drawing === picture);
    }
    showHtml(find("[data-sample]"), found.rows);
    showHtml(find("[data-outlook-place]", beside), found.html);
    showHtml(missing, found.missing);
    find("[data-again-offer]").hidden = !cards().length;
    for (const name of NAMES) editors[name].show(found.parts[name], found.sources[name]);
    if (found.token) return;
    knownPoints = found.points;
    points.hidden = !knownPoints.length;
    for (const point of knownPoints) {
      const button = find(`[data-point="${point.key}"]`, points);
      button.disabled = Boolean(point.lacks);
      find("[data-lacks]", button).textContent = point.lacks;
    }
    groups = found.fields;
    showFields();
    offerOwnRows(found.columns);
  };
  const refresh = page.beginPreview({
    keyOf: () =>
      cards()
        .map((one) => one.id)
        .join(),
    addTo: (body) => body.set("_as", find("[data-as]", beside).value),
    show,
    failed: () => find("[data-phone]", beside).replaceChildren(problem(words.failed)),
  });
  const changed = page.watch({ refresh, onChange: () => showChosen(), isOwn: (target) => target.matches("[data-insert] *, [data-missing] *") });
  find("[data-as]", beside).addEventListener("input", page.later(page.TYPING_MS, () => refresh()));

  find("[data-again]").addEventListener("click", () => refresh({ isAnew: true }));
  isTemplate.addEventListener("change", () => {
    for (const editor of Object.values(editors)) editor.forget();
  });

  // A problem leads to its field, also where a label editor stands for it, or it is folded away.
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-problems] a");
    if (!link) return;
    event.preventDefault();
    const target = document.getElementById(link.hash.slice(1));
    const editor = Object.values(editors).find((one) => one.source === target && one.isUsable);
    target?.closest("details:not([open])")?.setAttribute("open", "");
    (editor ? editor.box : target)?.focus();
  });

  showChosen();
  refresh();
});
