// The grid of attributes: cells copied from a spreadsheet can be pasted, and arrow keys and Enter move between rows.
"use strict";
{
  const grid = document.querySelector("[data-grid]");
  const status = document.querySelector("[data-grid-status]");
  const rows = grid ? [...grid.tBodies[0].rows].map((row) => [...row.querySelectorAll("input")]) : [];
  const place = (cell) => {
    const row = rows.findIndex((one) => one.includes(cell));
    return [row, row < 0 ? -1 : rows[row].indexOf(cell)];
  };
  const opened = JSON.parse(document.querySelector("[name=opened]")?.value ?? "{}");
  const mark = (cell) => cell.toggleAttribute("data-changed", cell.value !== (opened[cell.name.slice("cell-".length)] ?? ""));
  // Tabs separate cells. A cell with a line break is in quotation marks; quotation marks inside it are doubled.
  const read = (text) => {
    const lines = [[""]];
    let isQuoted = false;
    const source = text.replace(/\r\n?/g, "\n").replace(/\n$/, "");
    for (let at = 0; at < source.length; at += 1) {
      const line = lines[lines.length - 1];
      const sign = source[at];
      if (isQuoted && sign === '"' && source[at + 1] === '"') {
        line[line.length - 1] += sign;
        at += 1;
      } else if (sign === '"' && (isQuoted || line[line.length - 1] === "")) isQuoted = !isQuoted;
      else if (!isQuoted && sign === "\t") line.push("");
      else if (!isQuoted && sign === "\n") lines.push([""]);
      else line[line.length - 1] += sign;
    }
    return lines.map((line) => line.map((cell) => cell.trim().replace(/\n+/g, "; ")));
  };
  grid?.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const [top, left] = place(event.target);
    if (top < 0 || !/[\t\r\n]/.test(text)) return;
    event.preventDefault();
    let filled = 0;
    let outside = 0;
    read(text).forEach((line, down) =>
      line.forEach((value, right) => {
        const cell = rows[top + down]?.[left + right];
        if (!cell) {
          outside += 1;
          return;
        }
        cell.value = value;
        mark(cell);
        filled += 1;
      }),
    );
    const said = [grid.dataset.filled.replace("{count}", filled)];
    if (outside) said.push(grid.dataset.outside.replace("{count}", outside));
    status.textContent = said.join(" ");
  });
  grid?.addEventListener("input", (event) => mark(event.target));
  grid?.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1, Enter: event.shiftKey ? -1 : 1 }[event.key];
    // Alt and an arrow open the choices of a cell.
    if (!step || event.altKey || event.isComposing || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    const [row, column] = place(event.target);
    const next = rows[row + step]?.[column];
    next?.focus();
    next?.select();
  });
  rows.flat().forEach(mark);
}
