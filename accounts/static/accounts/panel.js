// WeCom's panel with the QR code, on the login page. `data-url` of [data-panel] is the address that returns a state, which
// is replaced by a new one before it expires. Until the panel is loaded, and if anything fails, the page shows the button
// that links to WeCom's own page.
"use strict";
(() => {
  const READY_MS = 12000;
  const RETRY_MS = 15000;
  const MIDDLE_PX = 480;
  const box = document.querySelector("[data-panel]");
  if (!box) return;
  const frame = box.querySelector("[data-panel-frame]");
  const words = box.querySelector("[data-panel-words]");
  const plain = document.querySelector("[data-plain-link]");
  let shown = null;
  let renewAt = Infinity;
  let timer = 0;
  let isRenewing = false;

  const say = (text) => {
    if (words.textContent !== text) words.textContent = text;
  };

  const requestState = async () => {
    const response = await fetch(box.dataset.url, {
      method: "POST",
      body: new URLSearchParams({ csrfmiddlewaretoken: box.querySelector("[name=csrfmiddlewaretoken]").value, next: box.dataset.next }),
      headers: { Accept: "application/json" },
      credentials: "same-origin",
    });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  };

  const ready = (text) => {
    box.dataset.state = "ready";
    plain.className = "plain-link";
    say(text);
  };

  const failed = () => {
    box.dataset.state = "failed";
    plain.className = "button";
    say(box.dataset.failed);
  };

  // WeCom's component only opens WeCom's own host; a company's own QR page is shown in a similar frame.
  const plainFrame = (answer) => {
    const element = document.createElement("iframe");
    element.referrerPolicy = "origin";
    element.className = "panel-plain";
    element.addEventListener("load", () => ready(""));
    element.src = answer.page;
    frame.append(element);
    return { el: element, unmount: () => element.remove() };
  };

  const officialPanel = (answer) =>
    window.ww.createWWLoginPanel({
      el: frame,
      params: answer.params,
      onCheckWeComLogin: ({ isWeComLogin } = {}) => ready(isWeComLogin ? box.dataset.oneClick : ""),
      onOpenInWecom: () => ready(box.dataset.oneClick),
      onLoginFail: failed,
    });

  const show = (answer) => {
    const size = frame.clientWidth >= MIDDLE_PX ? "middle" : "small";
    answer.params.panel_size = size;
    answer.page += `&panel_size=${size}`;
    const old = shown;
    shown = answer.is_official ? officialPanel(answer) : plainFrame(answer);
    shown.el.title = box.dataset.title;
    if (old) old.unmount();
    box.dataset.renewed = String(Number(box.dataset.renewed ?? -1) + 1);
  };

  const plan = (milliseconds) => {
    clearTimeout(timer);
    renewAt = Date.now() + milliseconds;
    timer = setTimeout(renew, milliseconds);
  };

  // A hidden page does not renew the state, even if it expires; it does so when it is shown again.
  async function renew() {
    if (isRenewing || document.hidden) return;
    isRenewing = true;
    try {
      const answer = await requestState();
      show(answer);
      plan(answer.renew_after_ms);
    } catch {
      if (!shown) failed();
      plan(RETRY_MS);
    } finally {
      isRenewing = false;
    }
  }

  const renewIfDue = () => {
    if (!shown || Date.now() >= renewAt) renew();
  };

  document.addEventListener("visibilitychange", renewIfDue);
  window.addEventListener("pageshow", renewIfDue);
  setTimeout(() => {
    if (box.dataset.state !== "ready") failed();
  }, READY_MS);
  say(box.dataset.loading);
  renew();
})();
