// Shows in its place what workers make for a page, once it is made: pictures and files. Asks the address of the place.
"use strict";
(() => {
  const POLL_MS = 700;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const made = (place, found) => {
    if (found.kind !== "picture") {
      const link = Object.assign(document.createElement("a"), { href: found.address, textContent: place.dataset.open });
      place.replaceChildren(link);
      return;
    }
    const { address: src, width, height } = found;
    const picture = Object.assign(new Image(width, height), { alt: place.dataset.alt, src });
    place.classList.remove("phone-no-picture");
    place.replaceChildren(picture);
  };

  const failed = (place, words) => {
    place.replaceChildren(Object.assign(document.createElement("p"), { className: "problem", textContent: words }));
  };

  window.followMaking = async (place, words, isCurrent) => {
    for (;;) {
      await pause(POLL_MS);
      if (!isCurrent() || !place.isConnected) return;
      let found;
      try {
        const response = await fetch(place.dataset.making, { credentials: "same-origin" });
        if (response.status === 404) return failed(place, words.forgotten);
        if (!response.ok) throw new Error(String(response.status));
        found = await response.json();
      } catch {
        return failed(place, words.failed);
      }
      if (!isCurrent()) return;
      if (found.address) return made(place, found);
      if (found.problem) return failed(place, found.problem);
      place.querySelector("[data-making-seconds]").textContent = `${found.seconds} ${words.seconds}`;
    }
  };
})();
