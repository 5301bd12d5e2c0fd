// A text with merge fields: figures and dates stand in it as labels that can be inserted, moved past and deleted as one
// character. What is stored is the template, in the textarea or input that the editor stands for. A template that the
// picker cannot show stays in its own field.
"use strict";
// Beside a label a browser needs a character in which its caret can stand; it belongs to no text.
const CARET_PLACE = "\u200b";
const PARTS_TYPE = "application/x-guanwecom-parts";
// What is typed without a longer pause is undone at once.
const ONE_STEP_MS = 1000;
const STEPS_AT_MOST = 200;
window.TemplateEditor = class {
  // `source`: the input or textarea. `label`: its label element. `isTemplate`: whether what is stored is a template now.
  // `words`: `chip`, `inserted` and `deleted`, in which {} stands for a label, for those who hear the page.
  constructor(source, label, isTemplate, words) {
    this.source = source;
    this.isTemplate = isTemplate;
    this.words = words;
    this.steps = [];
    this.isOneLine = source.tagName === "INPUT";
    this.box = document.createElement("div");
    this.box.className = `template-editor${this.isOneLine ? " one-line" : ""}`;
    this.box.contentEditable = "true";
    this.box.setAttribute("role", "textbox");
    this.box.setAttribute("aria-multiline", String(!this.isOneLine));
    if (label) {
      label.id ||= `${source.id}_label`;
      this.box.setAttribute("aria-labelledby", label.id);
      label.addEventListener("click", () => this.box.focus());
    }
    this.box.hidden = true;
    this.status = document.createElement("span");
    this.status.className = "visually-hidden";
    this.status.setAttribute("role", "status");
    source.after(this.box, this.status);
    this.box.addEventListener("input", () => this.write());
    this.box.addEventListener("keyup", () => this.remember());
    this.box.addEventListener("keydown", (event) => this.onKey(event));
    this.box.addEventListener("paste", (event) => this.onPaste(event));
    this.box.addEventListener("beforeinput", (event) => this.onHistory(event));
    for (const name of ["copy", "cut"]) this.box.addEventListener(name, (event) => this.onCopy(event));
    this.box.addEventListener("drop", (event) => event.preventDefault());
  }

  // `parts`: texts and fields ({text} or {label, template}) of `sent`; null for a template that only its own field can
  // show. Nothing changes under somebody who types, or has typed on.
  show(parts, sent) {
    const normal = (text) => text.replace(/\r\n/g, "\n");
    if (document.activeElement === this.source || normal(sent) !== normal(this.source.value)) return;
    this.box.hidden = parts === null;
    this.source.hidden = parts !== null;
    if (parts === null || this.source.value.replace(/\r\n/g, "\n") === this.shown) return;
    this.box.replaceChildren();
    for (const part of parts) {
      if (part.template) this.box.append(CARET_PLACE, this.chip(part), CARET_PLACE);
      else this.appendText(part.text);
    }
    this.shown = this.source.value.replace(/\r\n/g, "\n");
    this.steps = [this.step()];
    this.at = 0;
  }

  // What is shown is read anew with the next answer.
  forget() {
    this.shown = null;
  }

  get isUsable() {
    return !this.box.hidden;
  }

  chip({ label, template }) {
    const chip = document.createElement("span");
    chip.className = "template-chip";
    chip.contentEditable = "false";
    chip.dataset.template = template;
    chip.textContent = label;
    // One thing, not letters to go through.
    chip.setAttribute("role", "img");
    chip.setAttribute("aria-label", this.words.chip.replace("{}", label));
    return chip;
  }

  appendText(text) {
    text.split("\n").forEach((line, index) => {
      if (index) this.box.append(document.createElement("br"));
      if (line) this.box.append(line);
    });
  }

  insert(field) {
    const chip = this.chip(field);
    const selection = document.getSelection();
    const range = selection.rangeCount ? selection.getRangeAt(0) : null;
    if (this.range && this.box.contains(this.range.startContainer)) this.place(this.range, chip);
    else if (range && this.box.contains(range.startContainer)) this.place(range, chip);
    else this.box.append(chip);
    chip.before(CARET_PLACE);
    chip.after(CARET_PLACE);
    this.box.focus();
    const after = document.createRange();
    after.setStart(chip.nextSibling, 1);
    selection.removeAllRanges();
    selection.addRange(after);
    this.range = after;
    this.write();
    this.status.textContent = this.words.inserted.replace("{}", field.label);
  }

  // Never within another label.
  place(range, node) {
    const start = range.startContainer;
    const chip = (start.nodeType === Node.TEXT_NODE ? start.parentElement : start).closest(".template-chip");
    if (chip) range.setStartAfter(chip);
    range.deleteContents();
    range.insertNode(node);
  }

  // The caret is remembered: choosing what is inserted takes the focus away.
  remember() {
    const selection = document.getSelection();
    if (selection.rangeCount && this.box.contains(selection.anchorNode)) this.range = selection.getRangeAt(0).cloneRange();
  }

  write({ isStep = true } = {}) {
    this.remember();
    this.source.value = this.template();
    this.shown = this.source.value;
    if (isStep) this.keepStep();
    this.source.dispatchEvent(new Event("input", { bubbles: true }));
  }

  template() {
    const text = (node) => {
      if (node.nodeType === Node.TEXT_NODE) {
        const typed = node.data.replaceAll(CARET_PLACE, "").replace(/\u00a0/g, " ");
        return this.isTemplate() ? TemplateEditor.literal(typed) : typed;
      }
      if (node.dataset?.template) return node.dataset.template;
      if (node.nodeName === "BR") return "\n";
      const inner = [...node.childNodes].map(text).join("");
      // A browser wraps a new line in a block of its own.
      return node.nodeName === "DIV" && node.previousSibling ? `\n${inner}` : inner;
    };
    const whole = [...this.box.childNodes].map(text).join("");
    return this.isOneLine ? whole.replace(/\n/g, " ") : whole;
  }

  // What a template would take for its own, as the server writes it.
  static literal(text) {
    return text.replace(/\{[{%#]/g, (found) => `{{ '${found[0]}' }}{{ '${found[1]}' }}`);
  }

  // --- Undo and redo: the browser's own knows nothing of the labels that a script puts in ---
  step() {
    const chips = this.box.querySelectorAll(".template-chip").length;
    return { nodes: [...this.box.childNodes].map((node) => node.cloneNode(true)), caret: this.caret(), chips, when: Date.now() };
  }

  keepStep() {
    const last = this.steps[this.at];
    if (!last) return;
    const step = this.step();
    const isSame = this.at && step.chips === last.chips && step.when - last.when < ONE_STEP_MS;
    this.steps.splice(isSame ? this.at : this.at + 1, Infinity, step);
    this.steps.splice(0, this.steps.length - STEPS_AT_MOST);
    this.at = this.steps.length - 1;
  }

  goTo(at) {
    const step = this.steps[at];
    if (!step) return;
    this.at = at;
    this.box.replaceChildren(...step.nodes.map((node) => node.cloneNode(true)));
    const node = step.caret?.path.reduce((parent, index) => parent?.childNodes[index], this.box);
    if (node) document.getSelection().collapse(node, step.caret.offset);
    this.write({ isStep: false });
  }

  // Where the caret stands: the way to its node, from the box downwards.
  caret() {
    const { anchorNode, anchorOffset: offset } = document.getSelection();
    if (!this.box.contains(anchorNode)) return null;
    const path = [];
    for (let node = anchorNode; node !== this.box; node = node.parentNode) {
      path.unshift([...node.parentNode.childNodes].indexOf(node));
    }
    return { path, offset };
  }

  onHistory(event) {
    const move = { historyUndo: -1, historyRedo: 1 }[event.inputType];
    if (!move) return;
    event.preventDefault();
    this.goTo(this.at + move);
  }

  onKey(event) {
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && !event.altKey && (key === "z" || key === "y")) {
      event.preventDefault();
      this.goTo(this.at + (key === "z" && !event.shiftKey ? -1 : 1));
    }
    if (event.key === "Backspace" || event.key === "Delete") this.deleteChip(event);
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    if (!this.isOneLine) document.execCommand("insertLineBreak");
  }

  // A label goes with one press of either key, and with it the places beside it.
  deleteChip(event) {
    const selection = document.getSelection();
    const { anchorNode: node, anchorOffset: offset } = selection;
    if (!selection.isCollapsed || node?.nodeType !== Node.TEXT_NODE) return;
    const isBack = event.key === "Backspace";
    const next = (one) => (isBack ? one.previousSibling : one.nextSibling);
    const isBare = (text) => !text.replaceAll(CARET_PLACE, "");
    if (!isBare(isBack ? node.data.slice(0, offset) : node.data.slice(offset))) return;
    let chip = next(node);
    while (chip?.nodeType === Node.TEXT_NODE && isBare(chip.data)) chip = next(chip);
    if (!chip?.classList?.contains("template-chip")) return;
    event.preventDefault();
    chip.remove();
    this.write();
    this.status.textContent = this.words.deleted.replace("{}", chip.textContent);
  }

  // Labels stay labels on the clipboard.
  onCopy(event) {
    const selection = document.getSelection();
    if (!selection.rangeCount) return;
    const parts = [...selection.getRangeAt(0).cloneContents().childNodes].map((node) =>
      node.dataset?.template
        ? { label: node.textContent, template: node.dataset.template }
        : { text: node.nodeName === "BR" ? "\n" : node.textContent.replaceAll(CARET_PLACE, "") },
    );
    event.preventDefault();
    event.clipboardData.setData(PARTS_TYPE, JSON.stringify(parts));
    event.clipboardData.setData("text/plain", parts.map((part) => part.label ?? part.text).join(""));
    if (event.type === "cut") {
      selection.deleteFromDocument();
      this.write();
    }
  }

  onPaste(event) {
    event.preventDefault();
    const parts = event.clipboardData.getData(PARTS_TYPE);
    if (parts && this.isTemplate()) {
      for (const part of JSON.parse(parts)) {
        if (!part.template) document.execCommand("insertText", false, part.text);
        else if (!(this.isOneLine && part.template.includes("\n"))) this.insert(part);
      }
      return;
    }
    const text = event.clipboardData.getData("text/plain");
    document.execCommand("insertText", false, this.isOneLine ? text.replace(/\s+/g, " ") : text);
  }
};
