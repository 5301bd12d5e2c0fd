// What the QR page does when it is through: navigate, or tell the page around it (official component's protocol).
"use strict";
window.sandboxPanel = {
  finish(redirectType, result) {
    (redirectType === "self" ? window : window.top).location.href = result.url;
  },
};
