// What pages that make a thing in one form share: what stands beside the form, the chosen cards, and the draft.
"use strict";
window.onePage = (beside, form) => {
  const TYPING_MS = 500;
  const POLL_MS = 700;
  const DRAFT_MS = 2500;
  const words = beside.dataset;
  const find = (selector, root = form) => root.querySelector(selector);
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const problem = (textContent) => make("p", { className: "problem", textContent });
  // What a person has opened stays open until there is something new.
  const shown = new WeakMap();
  const showHtml = (place, html) => {
    if (shown.get(place) === html) return;
    shown.set(place, html);
    place.innerHTML = html;
  };
  // Signing in makes a new token, with which this page goes on. Gives whether one is signed in.
  const renewToken = async () => {
    const response = await fetch(location.href, { credentials: "same-origin" });
    if (!response.ok || response.redirected) return !response.redirected;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const token = fresh.querySelector(`#${form.id} [name=csrfmiddlewaretoken]`)?.value;
    if (token) for (const each of document.querySelectorAll("[name=csrfmiddlewaretoken]")) each.value = token;
    return true;
  };
  const signedOut = find("[data-signed-out]", beside);
  const post = async (url, body) => {
    const send = () => {
      body.set("csrfmiddlewaretoken", find("[name=csrfmiddlewaretoken]").value);
      const headers = { Accept: "application/json" };
      // Of a page that is being closed the browser ends what it does not keep alive.
      return fetch(url, { method: "POST", body, headers, credentials: "same-origin", keepalive: document.hidden });
    };
    if (words.id) body.set("_id", words.id);
    let response = await send();
    let isSignedIn = !response.redirected;
    if (response.status === 403) {
      isSignedIn = await renewToken();
      if (isSignedIn) response = await send();
    }
    signedOut.hidden = isSignedIn;
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    return response.json();
  };
  const later = (milliseconds, action) => {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, milliseconds);
    };
  };
  const showDrawn = (place, html) => window.preview.showDrawn(place, html, words);

  // The chosen cards, each with a button that takes it away. `cards`: the name of each, and what its button does.
  const showChosen = (cards) => {
    const items = cards.map(({ name, remove }) => {
      const item = make("li", { textContent: name });
      const button = make("button", { type: "button", textContent: "×", ariaLabel: `${words.remove}: ${name}` });
      button.addEventListener("click", remove);
      item.append(button);
      return item;
    });
    find("[data-chosen]").replaceChildren(...items);
  };

  // A push or an alert without a name is called as its first data.
  const nameAs = (name) => (find("#id_name").value ||= name.slice(0, 128));

  // A problem leads to its field, also where it is folded away. `standIn`: what the focus goes to instead of a field.
  const beginProblems = (standIn = (target) => target) =>
    form.addEventListener("click", (event) => {
      const link = event.target.closest("[data-problems] a");
      if (!link) return;
      event.preventDefault();
      const target = document.getElementById(link.hash.slice(1));
      target?.closest("details:not([open])")?.setAttribute("open", "");
      standIn(target)?.focus();
    });

  // Shows the summary of each collapsible part.
  const showSummaries = (texts) => {
    for (const [key, text] of Object.entries(texts)) {
      const place = find(`[data-part="${key}"] [data-set]`);
      if (place) place.textContent = text;
    }
  };

  // Gives a function that sends the form as it stands and shows the answer. `keyOf`: what the data depends on.
  const beginPreview = ({ show, failed, ...others }) => {
    const status = find("[data-status]", beside);
    const tell = (text) => status.textContent !== text && (status.textContent = text);
    return window.preview.begin({
      form,
      post: (body) => post(words.previewUrl, body),
      show: (found) => {
        showSummaries(found.summaries);
        tell(found.waiting);
        show(found);
      },
      failed: () => {
        tell("");
        failed();
      },
      ...others,
    });
  };

  // Keeps the draft, and shows anew what stands beside the form. Gives the function to call after a change by script,
  // with the milliseconds to wait. `isOwn`: whether a control is none of the form's.
  const watch = ({ refresh, onChange, isOwn = () => false }) => {
    let isSubmitted = false;
    let isDirty = false;
    const keep = async () => {
      if (!isDirty || isSubmitted) return;
      isDirty = false;
      try {
        await post(words.draftUrl, new FormData(form));
      } catch {
        isDirty = true;
      }
    };
    const keepSoon = later(DRAFT_MS, keep);
    const refreshSoon = later(TYPING_MS, () => refresh());
    const typed = () => new URLSearchParams(new FormData(form)).toString();
    let known = typed();
    const changed = (milliseconds = TYPING_MS) => {
      known = typed();
      isDirty = true;
      onChange();
      keepSoon();
      if (milliseconds) refreshSoon();
      else refresh();
    };
    const isIgnored = (target) => target.matches("[data-search]") || isOwn(target);
    form.addEventListener("submit", () => (isSubmitted = true));
    document.addEventListener("visibilitychange", () => document.hidden && keep());
    form.addEventListener("input", (event) => !isIgnored(event.target) && changed());
    // Select2, and a window of Django's admin in which something was added, tell jQuery only. So does Django's script
    // when the page begins, and nothing has changed then.
    // What a handler returns matters to jQuery: false would keep the event from every other script.
    django.jQuery(form).on("change", (event) => {
      if (!isIgnored(event.target) && typed() !== known) changed();
    });
    document.addEventListener("errand:back", () => refresh());
    // After Django's own script, which focuses the first field.
    window.addEventListener("load", () => setTimeout(() => find("[data-problems]")?.focus()));
    return changed;
  };

  return {
    ...{ TYPING_MS, POLL_MS, words, find, make, problem, showHtml, showDrawn, showChosen, nameAs, post, later },
    ...{ beginProblems, beginPreview, watch },
  };
};
