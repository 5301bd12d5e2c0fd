// What the QR page does when it is through: navigate, or tell the page around it, by the official component's protocol.
"use strict";
(() => {
  const box = document.getElementById("panel");
  const redirectOrigin = box ? box.dataset.redirectOrigin : "";
  let parentOrigin = "";
  let port = null;
  let serial = 0;
  const waiting = new Map();

  function post(message) {
    const text = JSON.stringify(message);
    if (port) port.postMessage(text);
    else window.parent.postMessage(text, parentOrigin);
  }

  // Call one of the callbacks that the page around gave to createWWLoginPanel.
  function call(name, data) {
    if (!parentOrigin) return Promise.resolve();
    const uid = `sandbox-${(serial += 1)}`;
    const answered = new Promise((resolve) => waiting.set(uid, resolve));
    post({ type: "ww-iframe-handle:call", uid, args: { type: "call", name, data } });
    return answered;
  }

  function read(data) {
    try {
      return typeof data === "string" ? JSON.parse(data) : data;
    } catch {
      return null;
    }
  }

  function onMessage(event) {
    const message = read(event.data);
    if (!message || typeof message.type !== "string") return;
    if (message.type === "ww-iframe-handle:response" && waiting.has(message.uid)) {
      waiting.get(message.uid)();
      waiting.delete(message.uid);
    }
    if (message.type === "ww-iframe-handle:set-port") {
      port = message.port;
      port.onmessage = onMessage;
      call("onCheckWeComLogin", { isWeComLogin: false });
    }
    if (message.type === "ww-iframe-handle:init" && !parentOrigin) {
      parentOrigin = event.origin;
      post({ type: "ww-iframe-handle:ready", supportChannel: true });
    }
  }

  if (window.parent !== window) {
    window.addEventListener("message", (event) => {
      if (event.source === window.parent) onMessage(event);
    });
  }

  window.sandboxPanel = {
    // result: {code, url}; code "" means that the person refused.
    finish(redirectType, result) {
      if (redirectType !== "callback") {
        (redirectType === "self" ? window : window.top).location.href = result.url;
        return;
      }
      // A code is for the trusted domain only, whoever may have put this page into a frame.
      if (parentOrigin !== redirectOrigin) call("onLoginFail", { errCode: 50001, errMsg: "redirect_uri unauthorized" });
      else if (result.code) call("onLoginSuccess", { code: result.code });
      else call("onLoginFail", { errCode: 40029, errMsg: "refused" });
    },
  };
})();
