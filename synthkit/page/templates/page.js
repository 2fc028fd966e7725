"use strict";
// Filters, histories and copy buttons of a page. Everything is text to it: nothing is ever parsed as HTML.
(() => {
  const $ = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const draw = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  const copy = async (button) => {
    const code = document.getElementById(button.dataset.copy);
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Some browsers allow this alone for a page that lies in a file.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1500);
  };
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }

  const stored = $("#data");
  if (!stored) return;
  const data = JSON.parse(stored.textContent);
  const cards = all(".card");
  const sections = all(".class");
  const form = $("#filters");

  // --- filters ---

  const wanted = () => {
    const value = (name) => form.elements[name]?.value ?? "";
    const ranges = all("[data-range]", form).map((field) => {
      const [low, high] = all("input", field).map((input) => input.valueAsNumber);
      return [field.dataset.range, Number.isNaN(low) ? -Infinity : low, Number.isNaN(high) ? Infinity : high];
    }).filter(([, low, high]) => low !== -Infinity || high !== Infinity);
    return { label: value("class"), group: value("group"), draw: value("draw"), ranges };
  };

  const passes = (image, filter) =>
    (!filter.draw || image.numbers.attempt === Number(filter.draw)) &&
    filter.ranges.every(([name, low, high]) => image.numbers[name] >= low && image.numbers[name] <= high);

  const apply = () => {
    const filter = wanted();
    let shown = 0;
    let every = 0;
    for (const section of sections) {
      const inside = (!filter.label || section.dataset.label === filter.label) &&
        (!filter.group || section.dataset.group === filter.group);
      let here = 0;
      for (const card of all(".card", section)) {
        card.hidden = !(inside && passes(data.images[card.dataset.image], filter));
        here += card.hidden ? 0 : 1;
        every += 1;
      }
      section.hidden = !here;
      shown += here;
    }
    $("#count").textContent = `${shown.toLocaleString("en")} of ${every.toLocaleString("en")} images here`;
    $("#none").hidden = shown > 0 || every === 0;
  };

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  if (sections.length) {
    form.hidden = false;
    apply();
  }

  // --- the history of an image ---

  const dialog = $("#history");
  let open = null;

  const figure = (kind, picture, title, note) =>
    make("figure", { class: kind }, picture, make("figcaption", {}, make("b", {}, title), make("bdi", {}, note)));

  const real = ([title, name, place, crop], number) => {
    const kind = number ? "other" : "first";
    if (place === null) return figure(kind, "", title, name);
    const [width, height] = data.sizes[place];
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `real image ${name}` },
      draw("use", { href: `#real-${place}` }));
    if (crop.length) {
      const [x, y, w, h] = crop;
      picture.append(draw("rect", { class: "crop", x, y, width: w, height: h }));
    }
    return figure(kind, picture, title, name);
  };

  const tell = (card) => {
    const image = data.images[card.dataset.image];
    open = card;
    const pictures = image.sources.map(real);
    if (image.mixed) {
      const [title, note, uri, cells] = image.mixed;
      const picture = make("img", { src: uri, alt: title, class: cells ? "cells" : "" });
      pictures.push(figure("mixed", picture, title, note));
    }
    const made = $(".made img", card);
    pictures.push(figure("result", make("img", { src: made.src, alt: made.alt }), "the image", image.key));
    $(".pictures", dialog).replaceChildren(...pictures);
    $("dl", dialog).replaceChildren(...image.history.map((place) => {
      const [name, text] = data.lines[place];
      return make("div", {}, make("dt", {}, name), make("dd", {}, make("bdi", {}, text)));
    }));
    $("#history-title").textContent = `Image ${image.key}`;
    $(".story", dialog).scrollTop = 0;
  };

  const step = (by) => {
    const visible = cards.filter((card) => card.checkVisibility ? card.checkVisibility() : card.offsetParent);
    const next = visible[visible.indexOf(open) + by];
    if (next) tell(next);
  };

  for (const card of cards) {
    $(".open", card).addEventListener("click", () => {
      tell(card);
      dialog.showModal();
      $("#close").focus();
    });
  }
  $("#before").addEventListener("click", () => step(-1));
  $("#after").addEventListener("click", () => step(1));
  $("#close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => $(".open", open)?.focus());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
})();
