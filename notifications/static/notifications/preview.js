// The preview of a form as it stands: sent after each change, asked for again while its data is fetched, and the
// pictures and files in it as soon as workers have made them.
"use strict";
window.preview = (() => {
  const POLL_MS = 700;
  const problem = (textContent) => Object.assign(document.createElement("p"), { className: "problem", textContent });

  const showMade = (place, { kind, address, width, height }) => {
    place.classList.remove("phone-no-picture");
    const made =
      kind === "picture"
        ? Object.assign(new Image(width, height), { alt: place.dataset.alt, src: address })
        : Object.assign(document.createElement("a"), { href: address, textContent: place.dataset.open });
    place.replaceChildren(made);
  };

  // [data-making]: its own address says what workers made for it.
  const follow = async (place, words, isCurrent) => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (!isCurrent() || !place.isConnected) return;
      const options = { headers: { Accept: "application/json" }, credentials: "same-origin" };
      const response = await fetch(place.dataset.making, options).catch(() => null);
      const found = response?.ok && !response.redirected ? await response.json() : null;
      if (!isCurrent() || !place.isConnected) return;
      if (found?.address) return showMade(place, found);
      if (!found) return place.replaceChildren(problem(response?.status === 404 ? words.forgotten : words.failed));
      if (found.problem) return place.replaceChildren(problem(found.problem));
      place.querySelector("[data-making-seconds]").textContent = `${found.seconds} ${words.seconds}`;
    }
  };

  // Shows `html` in `place`, and the pictures in it as soon as they are drawn. Of seconds alone a screen reader, which
  // reads what is new, is not to read all of it.
  let drawing = 0;
  const showDrawn = (place, html, words) => {
    const fresh = Object.assign(document.createElement("template"), { innerHTML: html }).content;
    const [old, anew] = [place, fresh].map((root) => root.querySelector("[data-elapsed]"));
    if (old && anew) old.textContent = anew.textContent;
    if (place.innerHTML.trim() === html.trim()) return;
    place.innerHTML = html;
    const mine = (drawing += 1);
    for (const each of place.querySelectorAll("[data-making]")) follow(each, words, () => mine === drawing);
  };

  // Gives a function that sends the form and shows the answer. `post`: sends a body to the server and gives its answer;
  // `keyOf`: what the data depends on; `addTo`: adds to the body what stands beside the form.
  const begin = ({ form, post, keyOf, addTo = () => {}, show, failed }) => {
    let number = 0;
    let token = "";
    let tokenOf = "";
    const refresh = async ({ isAnew = false } = {}) => {
      const mine = (number += 1);
      const key = keyOf();
      if (isAnew || key !== tokenOf) [token, tokenOf] = ["", key];
      const body = new FormData(form);
      body.set("_token", token);
      addTo(body);
      const found = await post(body).catch(() => null);
      if (mine !== number) return;
      if (!found) return failed();
      if (found.token || found.has_failed) token = found.token;
      show(found);
      if (found.token) setTimeout(() => mine === number && refresh(), POLL_MS);
    };
    return refresh;
  };

  return { begin, showDrawn };
})();
