// The page of an inbound channel: fields of the last payload are picked by a click, and the message stands beside the
// form after each change. Without this script the page is a form with all its fields, and its buttons work.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const beside = document.querySelector("[data-channel]");
  const form = document.getElementById("inboundchannel_form");
  if (!beside || !form) return;
  const POLL_MS = 3000;
  const words = beside.dataset;
  const page = onePage(beside, form);
  const { find, showHtml, problem } = page;

  // --- Texts, in which fields stand as labels ---
  const editors = {};
  for (const name of ["title", "text"]) {
    const source = find(`#id_${name}`);
    editors[name] = new TemplateEditor(source, find(`label[for="id_${name}"]`), () => true, words);
  }
  const editorOf = (element) => Object.values(editors).find((one) => one.box === element || one.box.contains(element));

  // --- Picking: what is picked goes where the caret was last ---
  const PATHS = ["recipient_path", "only_path", "key_path", "link_path", "severity_path", "file_paths", "figures"];
  const isPath = (element) => PATHS.some((name) => element.id === `id_${name}`);
  let target = editors.text;
  form.addEventListener("focusin", (event) => {
    const editor = editorOf(event.target);
    if (editor) target = editor;
    else if (isPath(event.target)) target = event.target;
    else if (event.target === editors.title.source || event.target === editors.text.source) target = event.target;
  });
  form.addEventListener("keyup", (event) => editorOf(event.target)?.remember());
  form.addEventListener("mouseup", (event) => editorOf(event.target)?.remember());
  const insertText = (field, text) => {
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const pick = ({ path, template }) => {
    if (target instanceof TemplateEditor) {
      if (target.isUsable) target.insert({ label: path, template });
      else insertText(target.source, template);
    } else if (target.tagName === "TEXTAREA" && isPath(target)) {
      const isBegun = target.value && !/[\n:]\s*$/.test(target.value);
      target.value += `${isBegun ? "\n" : ""}${target.id === "id_figures" && !/:\s*$/.test(target.value) ? `${path.split(".").pop()}: ` : ""}${path}`;
      target.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (isPath(target)) {
      target.value = path;
      target.dispatchEvent(new Event("input", { bubbles: true }));
    } else insertText(target, template);
  };
  const tree = find("[data-tree]");
  tree.addEventListener("click", (event) => {
    const field = event.target.closest("[data-path]");
    if (field) pick(field.dataset);
  });

  // --- Who ---
  const kind = find("#id_recipient_kind");
  const showWho = () => {
    find("[data-by-field]").hidden = !kind.value;
    find("[data-by-attribute]").hidden = kind.value !== "attribute";
  };

  // Whoever has just said that a field names them picks that field next.
  kind.addEventListener("change", () => {
    const named = find("#id_recipient_path");
    if (kind.value && !named.value) target = named;
  });

  // --- Beside the form ---
  let stamp = null;
  const show = (found) => {
    // Drawn anew only with another payload: whoever is at one of its fields stays there.
    if (found.stamp !== stamp || stamp === null) tree.innerHTML = found.tree;
    stamp = found.stamp;
    showHtml(find("[data-trial]", beside), found.trial);
    for (const [name, editor] of Object.entries(editors)) editor.show(found.parts[name], found.sources[name]);
  };
  const refresh = page.beginPreview({
    keyOf: () => "",
    show,
    failed: () => find("[data-trial]", beside).replaceChildren(problem(words.failed)),
  });
  const refreshSoon = page.later(page.TYPING_MS, () => refresh());
  const changed = () => {
    showWho();
    refreshSoon();
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  // Select2 tells jQuery only.
  window.django?.jQuery(form).on("select2:select select2:unselect select2:clear", changed);

  // The page waits for the next call.
  const look = async () => {
    try {
      const response = await fetch(words.stampUrl, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (response.ok && !response.redirected && (await response.json()).stamp !== stamp && stamp !== null) await refresh();
    } catch {
      // The next look may succeed.
    }
    setTimeout(look, POLL_MS);
  };
  showWho();
  refresh();
  setTimeout(look, POLL_MS);
});
