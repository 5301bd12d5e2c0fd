// Inside WeCom: hides sharing in the menu, because the pages show one person's data. WeCom's component needs a signature
// of the page's address. If that fails, the menu stays as it is, without a message.
"use strict";
(() => {
  const { url } = document.currentScript.dataset;

  const hide = async () => {
    const page = location.href.split("#")[0];
    const response = await fetch(`${url}?${new URLSearchParams({ page })}`, { credentials: "same-origin" });
    if (!response.ok || response.redirected) return;
    const { corpid, agentid, ...signature } = await response.json();
    const jsApiList = ["hideAllNonBaseMenuItem"];
    window.ww.register({ corpId: corpid, agentId: agentid, jsApiList, getConfigSignature: () => signature });
    await window.ww.hideAllNonBaseMenuItem();
  };

  hide().catch(() => {});
})();
