// Inside WeCom: takes sharing out of the menu, since our pages are each person's own. WeCom's component wants this very
// address signed; where that fails the menu stays as it is, and the page says nothing.
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
