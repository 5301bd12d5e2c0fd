// Which rows count for a condition, chosen by column and value in place of the field that takes them as text; and a
// relative date or a day in place of a typed one. The fields stay in the form and hold what was chosen.
"use strict";
window.rowChoices = ({ page, words, onChange }) => {
  const { make } = page;
  const button = (textContent, className = "link-button") => make("button", { type: "button", textContent, className });

  // As notifications.alerts.conditions reads and writes them.
  const escape = (text) => text.replace(/[\\|;；=]/g, "\\$&");
  const unescape = (text) => text.replace(/\\([\\|;；=])/g, "$1");
  const cut = (text, signs) => text.match(new RegExp(`(?:\\\\.|[^\\\\${signs}])+`, "g")) ?? [];
  const read = (text) =>
    cut(text, ";；").flatMap((part) => {
      const found = /^((?:\\.|[^=\\])+)=(.+)$/s.exec(part.trim());
      return found ? [[unescape(found[1].trim()), cut(found[2], "|").map((one) => unescape(one.trim()))]] : [];
    });
  const write = (filters) =>
    filters.map(([column, values]) => `${escape(column)}=${values.map(escape).join("|")}`).join("; ");

  const put = (input, value) => {
    if (input.value === value) return;
    input.value = value;
    onChange();
  };

  // A select of the relative dates, and a field for a certain day.
  const dateChooser = (value, dates, name, take) => {
    const box = make("span", { className: "date-choice" });
    const select = make("select", { ariaLabel: name });
    const isDay = /^\d{4}-\d{2}-\d{2}$/.test(value);
    const known = value && !isDay && !dates.includes(value) ? [value, ...dates] : dates;
    select.append(new Option("", ""), ...known.map((one) => new Option(one, one)), new Option(words.someDay, "-"));
    select.value = isDay ? "-" : value;
    const day = make("input", { type: "date", ariaLabel: `${name} ${words.someDay}`, hidden: !isDay });
    if (isDay) day.value = value;
    select.addEventListener("change", () => {
      day.hidden = select.value !== "-";
      if (day.hidden) take(select.value);
      else day.focus();
    });
    day.addEventListener("change", () => day.value && take(day.value));
    box.append(select, day);
    return box;
  };

  // What stands in place of a text field for dates; the field itself is hidden.
  const offerDates = (input, isDate, dates) => {
    const shown = input.nextElementSibling?.matches(".date-choice") ? input.nextElementSibling : null;
    const key = isDate ? JSON.stringify([dates, input.value]) : "";
    if (shown?.dataset.key === key && !shown.hidden === !input.hidden) return;
    if (shown?.contains(document.activeElement)) return;
    shown?.remove();
    input.classList.toggle("stands-in", isDate);
    if (!isDate) return;
    const box = dateChooser(input.value, dates, input.ariaLabel, (value) => put(input, value));
    box.dataset.key = key;
    input.after(box);
  };

  // The boxes of a column's values, with a field for one that the data does not have now.
  const valueBoxes = (column, chosen, offered) => {
    const box = make("div", { className: "value-choices" });
    for (const value of new Set([...chosen, ...offered])) {
      const label = make("label");
      label.append(make("input", { type: "checkbox", value, checked: chosen.includes(value) }), ` ${value}`);
      box.append(label);
    }
    box.append(make("input", { type: "text", placeholder: words.other, ariaLabel: `${column}${words.is}${words.other}` }));
    return box;
  };
  const chosenIn = (box) => [
    ...[...box.querySelectorAll(":checked")].map((one) => one.value),
    ...[...box.querySelectorAll("[type=text]")].map((one) => one.value.trim()).filter(Boolean),
  ];

  // The chooser of one filter: a column, then its values. `take` gets both, or none when it is given up.
  const filterChooser = (known, { columns, dates, values }, take) => {
    const box = make("div", { className: "filter-choice" });
    const names = columns.map(([name]) => name);
    const select = make("select", { ariaLabel: words.chooseColumn });
    select.append(new Option(words.chooseColumn, ""), ...names.map((name) => new Option(name, name)));
    const [column, chosen] = known ?? ["", []];
    if (column && !names.includes(column)) select.append(new Option(column, column));
    select.value = column;
    const place = make("div");
    const done = button(words.done, "button");
    let answer = () => chosen;
    const showValues = () => {
      const own = select.value === column ? chosen : [];
      const kind = columns.find(([name]) => name === select.value)?.[1];
      place.replaceChildren();
      done.hidden = !select.value;
      if (!select.value) return;
      if (kind === "date" || kind === "datetime") {
        done.hidden = own.length < 2; // one date is taken as soon as it is chosen; several are kept as they are
        answer = () => own;
        place.append(dateChooser(own.length === 1 ? own[0] : "", dates, select.value, (value) => take(select.value, [value])));
        return;
      }
      const boxes = valueBoxes(select.value, own, values[select.value] ?? []);
      answer = () => chosenIn(boxes);
      place.append(boxes);
    };
    select.addEventListener("change", () => {
      showValues();
      place.querySelector("select, input")?.focus();
    });
    done.addEventListener("click", () => take(select.value, answer()));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") take("", []);
      else if (event.key === "Enter" && event.target.matches("[type=text]")) {
        event.preventDefault();
        done.click();
      }
    });
    box.append(select, place, done);
    showValues();
    return box;
  };

  // The filters of a row as chips, each of which opens its chooser, and a button for another one.
  const drawFilters = (input, offered) => {
    let box = input.nextElementSibling;
    if (!box?.matches(".row-filters")) {
      box = make("div", { className: "row-filters" });
      input.after(box);
      input.classList.add("stands-in");
    }
    const key = JSON.stringify([input.value, offered]);
    if (box.dataset.key === key || box.querySelector(".filter-choice")) return;
    box.dataset.key = key;
    const filters = read(input.value);
    const replace = (number, column, values) => {
      const kept = filters.filter((_one, at) => at !== number && filters[at][0] !== column);
      if (column && values.length) kept.push([column, values]);
      else if (number >= 0 && !column) kept.splice(number, 0, filters[number]);
      box.querySelector(".filter-choice")?.remove();
      delete box.dataset.key;
      put(input, write(kept));
      drawFilters(input, offered);
      box.querySelector(".narrow").focus();
    };
    const open = (number) => {
      box.querySelector(".filter-choice")?.remove();
      const chooser = filterChooser(filters[number], offered, (column, values) => replace(number, column, values));
      box.append(chooser);
      chooser.querySelector("select").focus();
    };
    const chips = filters.map(([column, values], number) => {
      const chip = make("span", { className: "chip" });
      const change = button(`${column}${words.is}${values.join(words.list)}`, "chip-text");
      const away = make("button", { type: "button", textContent: "×", ariaLabel: `${words.remove}${words.is}${column}` });
      change.addEventListener("click", () => open(number));
      away.addEventListener("click", () => replace(number, column, []));
      chip.append(change, away);
      return chip;
    });
    const narrow = button(words.narrow, "link-button narrow");
    narrow.addEventListener("click", () => open(-1));
    box.replaceChildren(...chips, narrow);
  };

  return { drawFilters, offerDates };
};
