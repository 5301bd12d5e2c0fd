// The phone is live: whenever something changes, the screen is fetched again and put in place.
"use strict";
(() => {
  const live = document.getElementById("live");

  function toEnd() {
    if (live.querySelector("[data-scroll-end]")) live.scrollTop = live.scrollHeight;
  }

  async function refresh() {
    const response = await fetch(location.href, { headers: { "X-Refresh": "1" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
    if (!fresh) return;
    live.replaceChildren(...fresh.childNodes);
    toEnd();
  }

  // A link that was tapped on the phone: for a minute the QR page knows that this person need not be asked again.
  live.addEventListener("click", (event) => {
    if (event.target.closest('a[target="_blank"]')) document.cookie = "sandbox_tapped=1; path=/; max-age=60; samesite=lax";
  });

  const source = new EventSource("/phone/events");
  source.addEventListener("message", refresh);
  window.addEventListener("pagehide", () => source.close());
  toEnd();
})();
