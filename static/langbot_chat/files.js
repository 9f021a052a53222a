/* Files below a message: a small picture where it is one that runs nothing, else its name
   alone; with an address, a link that saves it. */
"use strict";

window.langbotFiles = ({ page }) => {
  const say = page.strings;
  const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

  function sizeOf(bytes) {
    const step = Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
    const format = new Intl.NumberFormat(document.documentElement.lang, {
      ...{ style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long" },
      maximumFractionDigits: 1,
    });
    return format.format(bytes / 1000 ** step);
  }

  function make(name, text) {
    const node = document.createElement(name);
    if (text) node.textContent = text;
    return node;
  }

  function picture(address) {
    const node = make("img");
    node.alt = ""; // its name stands beside it
    node.loading = "lazy";
    node.addEventListener("error", () => node.remove());
    node.addEventListener("load", () => node.classList.add("loaded"));
    node.src = address;
    return node;
  }

  function entry(file) {
    const node = make("li");
    const address = file.address && `${page.files}${file.address}/`;
    const place = address ? make("a") : make("span");
    if (address) {
      place.href = address;
      place.download = file.name;
      if (file.is_image) place.append(picture(address));
    }
    const name = make("span", file.name || say.file);
    name.className = "file-name";
    const more = [file.size && sizeOf(file.size), !address && say.file_gone];
    const about = make("span", more.filter(Boolean).join(" · "));
    about.className = "file-about";
    place.append(name, " ", about);
    node.append(place);
    return node;
  }

  return {
    show(node, files) {
      if (!files.length || node.querySelector(".files")) return;
      const list = make("ul");
      list.className = "files";
      list.setAttribute("role", "list"); // without bullets it is one to nobody else
      list.setAttribute("aria-label", say.files);
      list.append(...files.map(entry));
      node.append(list);
    },
  };
};
