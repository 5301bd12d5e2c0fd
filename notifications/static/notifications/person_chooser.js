// As whom a preview looks: a searching select of Django's admin. Until somebody is chosen it shows whom the server takes.
"use strict";
// `onChange`: called when a person was chosen.
window.personChooser = (select, onChange) => {
  const widget = django.jQuery(select);
  let isChosen = false;
  let isOpen = false;
  widget.on("select2:open", () => (isOpen = true));
  widget.on("select2:close", () => (isOpen = false));
  widget.on("select2:select", () => {
    isChosen = true;
    onChange();
  });
  return {
    value: () => (isChosen ? select.value : ""),
    // `person`: the key and name of whom the server took; nothing where there is nobody.
    show: (person) => {
      if (isChosen || isOpen || !person || select.value === person.id) return;
      select.replaceChildren(new Option(person.name, person.id, true, true));
      widget.trigger("change");
    },
  };
};
