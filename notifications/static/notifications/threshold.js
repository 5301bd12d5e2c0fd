// The picture of the last days with the threshold as a line, which is dragged, or moved with the arrow keys; and how
// often the rule would have fired. `take` gets the new threshold as text.
"use strict";
window.thresholdPicture = (figure, { take }) => {
  // As wide as its place, so that its letters keep their size on a phone.
  let wide = 640;
  const HEIGHT = 180;
  const EDGE = { left: 8, right: 8, top: 12, bottom: 24 };
  const { label, fired, further } = figure.dataset;
  const place = figure.querySelector("[data-past-picture]");
  const counted = figure.querySelector("[data-past-count]");
  const shape = (name, attributes = {}, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  let known = "";
  let past = null;
  let scale = null;
  let line = null;
  let isHeld = false;

  // A step that one reads easily: 1, 2 or 5 of a power of ten, about a hundredth of the range.
  const stepOf = (range) => {
    const power = 10 ** Math.floor(Math.log10(range / 100));
    return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= range / 100);
  };
  const rounded = (value) => Number((Math.round(value / scale.step) * scale.step).toFixed(scale.decimals));
  const written = (value) => value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: 6 });

  const fires = (value, threshold) => {
    if (value === threshold) return !past.is_strict;
    return value > threshold === past.is_above;
  };

  const showThreshold = () => {
    const y = scale.y(past.threshold);
    line.setAttribute("transform", `translate(0 ${y})`);
    line.setAttribute("aria-valuenow", past.threshold);
    line.setAttribute("aria-valuetext", written(past.threshold));
    line.querySelector("text").textContent = written(past.threshold);
    line.querySelector("text").setAttribute("y", y < EDGE.top + 16 ? 14 : -5);
    const held = past.days.filter(([, value]) => fires(value, past.threshold)).length;
    for (const [number, bar] of [...place.querySelectorAll("[data-day]")].entries()) {
      bar.classList.toggle("fires", fires(past.days[number][1], past.threshold));
    }
    counted.textContent = fired.replace("{held}", held).replace("{count}", past.days.length);
  };

  const move = (value) => {
    past.threshold = rounded(Math.min(scale.high, Math.max(scale.low, value)));
    showThreshold();
  };
  const settle = () => take(past.row, String(past.threshold));

  const draw = () => {
    const values = [...past.days.map(([, value]) => value), past.threshold];
    const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
    const range = most - least || 1;
    const step = stepOf(range);
    const [low, high] = [least < 0 ? least - range * 0.1 : 0, most + range * 0.1];
    const inner = HEIGHT - EDGE.top - EDGE.bottom;
    wide = Math.min(640, place.clientWidth || 640);
    scale = {
      ...{ low, high, step, decimals: Math.max(0, -Math.floor(Math.log10(step))) },
      y: (value) => EDGE.top + ((high - value) / (high - low)) * inner,
      value: (y) => high - ((y - EDGE.top) / inner) * (high - low),
    };
    const picture = shape("svg", { viewBox: `0 0 ${wide} ${HEIGHT}`, role: "group", "aria-label": past.column });
    const width = (wide - EDGE.left - EDGE.right) / past.days.length;
    past.days.forEach(([day, value], number) => {
      const [top, bottom] = [scale.y(Math.max(0, value)), scale.y(Math.min(0, value))];
      const x = EDGE.left + number * width;
      const bar = { x: x + width * 0.15, y: top, width: width * 0.7, height: Math.max(1, bottom - top), rx: 2, "data-day": "" };
      const drawn = shape("rect", bar);
      drawn.append(shape("title", {}, `${day} ${written(value)}`));
      picture.append(drawn);
    });
    const ends = past.days.length > 1 ? [0, past.days.length - 1] : [0];
    ends.forEach((number, at) => {
      const x = at ? wide - EDGE.right : EDGE.left;
      picture.append(shape("text", { x, y: HEIGHT - 6, "text-anchor": at ? "end" : "start" }, past.days[number][0]));
    });
    line = shape("g", { role: "slider", tabindex: 0, class: "threshold", "aria-label": label, "aria-orientation": "vertical" });
    line.setAttribute("aria-valuemin", rounded(low));
    line.setAttribute("aria-valuemax", rounded(high));
    line.append(
      shape("rect", { x: 0, y: -12, width: wide, height: 24, class: "threshold-grip" }),
      shape("line", { x1: 0, x2: wide, y1: 0, y2: 0 }),
      shape("text", { x: wide - EDGE.right, "text-anchor": "end" }),
    );
    picture.append(line);
    place.replaceChildren(picture);
    begin(picture);
    showThreshold();
  };

  const begin = (picture) => {
    const valueAt = (event) => {
      const box = picture.getBoundingClientRect();
      return scale.value(((event.clientY - box.top) / box.height) * HEIGHT);
    };
    line.addEventListener("pointerdown", (event) => {
      isHeld = true;
      line.setPointerCapture(event.pointerId);
      event.preventDefault();
      line.focus();
    });
    line.addEventListener("pointermove", (event) => isHeld && move(valueAt(event)));
    for (const end of ["pointerup", "pointercancel"]) {
      line.addEventListener(end, () => {
        if (isHeld) settle();
        isHeld = false;
      });
    }
    line.addEventListener("keydown", (event) => {
      const { step, low, high } = scale;
      const to = {
        ...{ ArrowUp: past.threshold + step, ArrowRight: past.threshold + step },
        ...{ ArrowDown: past.threshold - step, ArrowLeft: past.threshold - step },
        ...{ PageUp: past.threshold + 10 * step, PageDown: past.threshold - 10 * step, Home: low, End: high },
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to);
      settle();
    });
  };

  // `found`: what the server says of the last days; null hides the picture. `several`: whether there are other conditions.
  const show = (found, { isSeveral = false } = {}) => {
    figure.hidden = !found;
    if (!found || isHeld) return;
    const { threshold, ...fixed } = found;
    const key = JSON.stringify(fixed);
    past = { ...found, days: found.days };
    const isInside = scale && threshold >= scale.low && threshold <= scale.high;
    if (key === known && isInside) showThreshold();
    else {
      const isFocused = line && document.activeElement === line;
      draw();
      if (isFocused) line.focus();
    }
    known = key;
    if (isSeveral) counted.append(` ${further.replace("{number}", found.row + 1)}`);
  };
  return { show };
};
