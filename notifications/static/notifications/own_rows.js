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
  const rules = () => rows.live(PREFIX);
  // What WeCom knows of the person: kept as the fixed value of a rule, by a name that begins with @.
  const ofPerson = [...attributeChoice.options];
  const isOfPerson = (key) => ofPerson.some((one) => one.value === key);
  const chosenIn = (rule) => {
    const value = rows.field(rule, "value").value;
    return isOfPerson(value) ? value : rows.field(rule, "attribute").value;
  };
  const none = () => new Option("—", "");
  const offerAttributes = () => {
    const known = find(`#${PREFIX}-empty [name$='-attribute']`) ?? find(`[name^='${PREFIX}-'][name$='-attribute']`);
    const before = attributeChoice.value;
    const offered = new Map([...(known?.options ?? []), ...ofPerson].filter((one) => one.value).map((one) => [one.value, one.textContent]));
    // One that was added from here is not among those with which the page came.
    for (const one of attributeChoice.options) if (one.value && !offered.has(one.value)) offered.set(one.value, one.textContent);
    offerChoices(attributeChoice, [none(), ...[...offered].map(([value, text]) => new Option(text, value))]);
    attributeChoice.value = before && offered.has(before) ? before : "";
  };
  // `found`: the columns of each card, by its alias. `pair`: a column and an attribute whose values match, if there are any.
  const offer = (found, pair) => {
    const [first] = cards();
    const names = first ? (found[first.alias] ?? []) : [];
    const [rule] = rules();
    part.hidden = !rule && !names.length;
    const before = names.includes(columnChoice.value) ? columnChoice.value : "";
    const column = rule ? rows.field(rule, "column").value : before;
    const known = [...new Set([...names, ...(column ? [column] : [])])];
    offerChoices(columnChoice, [none(), ...known.map((name) => new Option(name, name))]);
    columnChoice.value = column;
    offerAttributes();
    if (rule) attributeChoice.value = chosenIn(rule);
    else if (pair && !column) [columnChoice.value, attributeChoice.value] = pair;
    box.checked = Boolean(rule);
    choice.hidden = !rule;
    columns.redraw();
    attributes.redraw();
  };
  const write = () => {
    const [rule] = rules();
    const [first] = cards();
    const key = attributeChoice.value;
    const values = { column: columnChoice.value, attribute: isOfPerson(key) ? "" : key };
    const fixed = rule ? rows.field(rule, "value").value : "";
    if (key || isOfPerson(fixed)) values.value = isOfPerson(key) ? key : "";
    if (!box.checked) rules().forEach(rows.remove);
    else if (rule) rows.write(rule, { ...values, ...(first ? { alias: first.alias } : {}) });
    else if (first) rows.add(PREFIX, { alias: first.alias, ...values });
    choice.hidden = !box.checked;
    onChange();
  };
  // A window of Django's admin in which an attribute was added tells jQuery only.
  django.jQuery([box, columnChoice, attributeChoice]).on("change", write);
  return { offer };
};
