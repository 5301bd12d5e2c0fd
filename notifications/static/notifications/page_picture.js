// The picture of a page of the BI: chosen in the list of data, shown as a part of the page once it is.
"use strict";
// `onChange`: called after it was taken or taken away. Without such a part on the page there is none to choose.
window.pagePicture = ({ find, onChange }) => {
  const part = find("[data-page-picture]");
  if (!part) return { offered: false, chosen: () => null, take: () => {} };
  const field = (name) => part.querySelector(`[name="picture_${name}"]`);
  const isChosen = () => Boolean(field("bi_id").value);
  const remove = () => {
    field("bi_id").value = "";
    onChange();
  };
  const take = (kind, id, name) => {
    const values = { kind, bi_id: id, name: name.slice(0, 128) };
    for (const [key, value] of Object.entries(values)) field(key).value = value;
    part.open = true;
    onChange();
  };
  const show = () => {
    part.hidden = !isChosen();
    part.querySelector("[data-set]").textContent = isChosen() ? field("name").value : "";
  };
  // The list of data fills these in; whoever has no script writes them.
  part.querySelector(".page-picture-id").hidden = !part.querySelector(".page-picture-id .errorlist");
  return { offered: true, chosen: () => (isChosen() ? { name: field("name").value, remove } : null), take, show };
};
