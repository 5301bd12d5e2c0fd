// "Each person sees their own rows only" as one switch with a column and an attribute, kept in the first of the rules.
"use strict";
// `cards`: gives the chosen cards, with their aliases. `onChange`: called after the rules changed.
window.ownRowsSwitch = ({ find, rows, cards, onChange }) => {
  const PREFIX = "own_rows_rules";
  const part = find("[data-own-rows]");
  const box = find("[data-own-rows-box]");
  const columnChoice = find("[data-own-rows-column]");
  const attributeChoice = find("[data-own-rows-attribute]");
  const choice = find("[data-own-rows-choice]");
  const [columns, attributes] = [columnChoice, attributeChoice].map(searchingSelect);
  const rules = () => rows.live(PREFIX).filter((row) => rows.field(row, "column").value);
  const offerAttributes = () => {
    const known = find(`#${PREFIX}-empty [name$='-attribute']`) ?? find(`[name^='${PREFIX}-'][name$='-attribute']`);
    const offered = [...(known?.options ?? [])].filter((one) => one.value);
    const before = attributeChoice.value;
    offerChoices(attributeChoice, offered.map((one) => new Option(one.textContent, one.value)));
    if (before) attributeChoice.value = before;
  };
  // Where a column and an attribute are called alike, they are meant.
  const proposePair = () => {
    const [column, attribute] = [columnChoice, attributeChoice].map((select) => [...select.options]);
    const pair = column.map((one) => [one, attribute.find((other) => other.textContent === one.textContent)]).find((one) => one[1]);
    if (!pair) return;
    columnChoice.value = pair[0].value;
    attributeChoice.value = pair[1].value;
  };
  // `found`: the columns of each card, by its alias.
  const offer = (found) => {
    const [first] = cards();
    const names = first ? (found[first.alias] ?? []) : [];
    const [rule] = rules();
    part.hidden = !rule && !names.length;
    const before = names.includes(columnChoice.value) ? columnChoice.value : "";
    const column = rule ? rows.field(rule, "column").value : before;
    const known = [...new Set([...names, ...(column ? [column] : [])])];
    offerChoices(columnChoice, known.map((name) => new Option(name, name)));
    if (column) columnChoice.value = column;
    offerAttributes();
    if (!column) proposePair();
    if (rule) attributeChoice.value = rows.field(rule, "attribute").value;
    box.checked = Boolean(rule);
    choice.hidden = !rule;
    columns.redraw();
    attributes.redraw();
  };
  const write = () => {
    const [rule] = rules();
    const [first] = cards();
    const values = { column: columnChoice.value, attribute: attributeChoice.value };
    if (!box.checked) rules().forEach(rows.remove);
    else if (rule) {
      for (const [name, value] of Object.entries(values)) rows.field(rule, name).value = value;
      if (first) rows.field(rule, "alias").value = first.alias;
    } else if (first) rows.add(PREFIX, { alias: first.alias, ...values });
    choice.hidden = !box.checked;
    onChange();
  };
  // A window of Django's admin in which an attribute was added tells jQuery only.
  django.jQuery([box, columnChoice, attributeChoice]).on("change", write);
  return { offer };
};
