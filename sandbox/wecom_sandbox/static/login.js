// The QR page: scan as a chosen person, then send the browser (or the page around the panel) on.
"use strict";
(() => {
  const box = document.getElementById("panel");
  const people = document.getElementById("people");
  const answer = document.getElementById("answer");
  const error = document.getElementById("error");
  const search = document.getElementById("search");
  let userid = "";

  async function post(document_) {
    const response = await fetch(location.href, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(document_),
    });
    return response.json();
  }

  function show(element, visible) {
    element.hidden = !visible;
  }

  function fail(text) {
    error.textContent = text;
    show(error, true);
  }

  function choose(button) {
    userid = button.dataset.userid;
    document.getElementById("chosen").textContent = button.textContent.trim();
    show(error, false);
    show(people, false);
    show(search.parentElement, false);
    show(answer, true);
    document.getElementById("approve").focus();
  }

  async function finish(id, decision) {
    const result = await post({ userid: id, answer: decision });
    if (result.error) {
      fail(result.error);
      return;
    }
    window.sandboxPanel.finish(box.dataset.redirectType, result);
  }

  function fill(found) {
    people.replaceChildren(
      ...found.map((one) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.userid = one.userid;
        const name = document.createElement("b");
        name.textContent = one.name;
        const id = document.createElement("span");
        id.textContent = one.userid;
        button.append(name, " ", id);
        item.append(button);
        return item;
      }),
    );
  }

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => fill((await post({ q: search.value })).people), 150);
  });
  people.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-userid]");
    if (button) choose(button);
  });
  document.querySelectorAll(".own button").forEach((button) => {
    button.addEventListener("click", () => finish(button.dataset.userid, "approve"));
  });
  document.getElementById("approve").addEventListener("click", () => finish(userid, "approve"));
  document.getElementById("refuse").addEventListener("click", () => finish(userid, "refuse"));
  document.getElementById("back").addEventListener("click", () => {
    show(answer, false);
    show(people, true);
    show(search.parentElement, true);
    search.focus();
  });
})();
