// The rows of formsets that Django's admin draws: cards, charts, rules of own rows. Scripts add and take away rows as a
// person would.
"use strict";
window.formRows = (form) => {
  const all = (prefix) =>
    [...form.querySelectorAll(`[id^="${prefix}-"]`)].filter(
      (row) => /-\d+$/.test(row.id) && row.matches("tr, .inline-related") && !row.classList.contains("empty-form"),
    );
  const field = (row, name) => row.querySelector(`[name$="-${name}"]`);
  const isGone = (row) => field(row, "DELETE")?.checked || row.hidden;
  const live = (prefix) => all(prefix).filter((row) => !isGone(row));
  // `values`: by the name of the field; `<name>_label` names a choice that its select does not have yet.
  const write = (row, values) => {
    for (const [name, value] of Object.entries(values)) {
      const control = field(row, name);
      if (!control) continue;
      if (control.tagName === "SELECT" && ![...control.options].some((one) => one.value === String(value))) {
        control.append(new Option(values[`${name}_label`] ?? value, value));
      }
      control.value = value;
    }
  };
  const add = (prefix, values) => {
    const known = new Set(all(prefix));
    form.querySelector(`#${prefix}-group .add-row a`)?.click();
    const row = all(prefix).find((each) => !known.has(each));
    if (row) write(row, values);
  };
  const remove = (row) => {
    const box = field(row, "DELETE");
    if (box) {
      box.checked = true;
      row.hidden = true;
    } else row.querySelector(".inline-deletelink")?.click();
  };
  return { live, field, add, write, remove };
};
