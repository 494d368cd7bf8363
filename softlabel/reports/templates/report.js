"use strict";
// Sorts tables, and shows pictures with their layers. Texts of others become text nodes, never HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const TILES = 12;
const shown = new Set(data.shown || ["entropy"]);
let current = -1;

function element(kind, properties, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

// --- pictures ------------------------------------------------------------------------------------

function stack(found, number) {
  const picture = found.pictures[number];
  const box = element("div", { className: "stack" });
  box.append(element("img", { src: picture.image, alt: "image" }));
  for (const [name, title] of data.layers) {
    if (shown.has(name) && picture.overlays[name]) {
      box.append(element("img", { src: picture.overlays[name], alt: title }));
    }
  }
  const [rows, columns] = found.ends || [null, null];
  const places = [["top", rows && rows[0]], ["bottom", rows && rows[1]],
    ["left", columns && columns[0]], ["right", columns && columns[1]]];
  for (const [place, text] of places) {
    if (text) box.append(element("span", { className: `end ${place}`, textContent: text }));
  }
  return box;
}

function draw() {
  const found = data.cases[current];
  const number = Number(byId("slider").value);
  const stage = byId("stage");
  stage.replaceChildren();
  if (!found.pictures.length) {
    stage.append(element("p", { textContent: found.why }));
    return;
  }
  const picture = found.pictures[number];
  stage.append(stack(found, number));
  byId("slice-name").textContent =
    `${picture.name} (${number + 1} of ${found.pictures.length} shown, ${found.slices} in all)`;
}

function layerSwitches(found) {
  const box = byId("layers");
  box.replaceChildren();
  for (const [name, title] of data.layers) {
    if (!found.pictures.some((picture) => picture.overlays[name])) continue;
    const input = element("input", { type: "checkbox", checked: shown.has(name) });
    input.dataset.layer = name;
    input.addEventListener("change", () => {
      if (input.checked) shown.add(name); else shown.delete(name);
      draw();
    });
    box.append(element("label", {}, input, element("bdi", { textContent: ` ${title}` })));
  }
}

function named(index, value) {
  // a class in the colour that it has in the layers of labels
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = data.colours[index];
  const name = element("bdi", { textContent: data.names[index] });
  return element("span", { className: "named" }, swatch, " ", name, ` ${value.toFixed(3)}`);
}

function words(found) {
  const parts = [];
  (found.q || []).forEach(([index, value], place) => {
    parts.push(place ? ", " : `${data.caption || "Own-class q, the softest first"}: `, named(index, value));
  });
  if (parts.length) parts.push(". ");
  if (found.compressed && Math.abs(found.compressed - 1) > 0.02) {
    parts.push(`Rows are drawn ${found.compressed} times as long as they are, beside the columns. `);
  }
  if (found.text) parts.push(found.text);
  return parts;
}

function open(index) {
  current = index;
  const found = data.cases[index];
  byId("viewer").hidden = false;
  byId("viewer-name").textContent = found.name;
  byId("viewer-text").replaceChildren(...words(found));
  const slider = byId("slider");
  slider.max = Math.max(0, found.pictures.length - 1);
  slider.value = Math.floor(found.pictures.length / 2);
  byId("slider-label").hidden = found.pictures.length < 2;
  layerSwitches(found);
  draw();
  for (const row of document.querySelectorAll("tr[data-case]")) {
    row.classList.toggle("shown", Number(row.dataset.case) === index);
  }
}

function step(by) {
  // in the order in which the table is sorted now
  const rows = [...document.querySelectorAll("tr[data-case]")].map((row) => Number(row.dataset.case));
  const place = rows.indexOf(current) + by;
  if (place >= 0 && place < rows.length) open(rows[place]);
}

function gallery() {
  const box = byId("gallery");
  const pictured = data.cases.map((found, index) => [found, index]).filter(([f]) => f.pictures.length);
  for (const [found, index] of pictured.slice(0, TILES)) {
    const middle = Math.floor(found.pictures.length / 2);
    const name = element("bdi", { textContent: found.name });
    const tile = element("button", { type: "button", className: "tile" },
      stack(found, middle), element("span", {}, name));
    tile.dataset.case = index;
    tile.addEventListener("click", () => { open(index); byId("viewer").scrollIntoView(); });
    box.append(tile);
  }
}

// --- tables --------------------------------------------------------------------------------------

function compare(a, b) {
  if (a === b) return 0;
  // what is not known comes last in both directions: see sort
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
}

function sort(table, column) {
  const heading = table.tHead.rows[0].cells[column];
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent : cell.dataset.key;
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return descending ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.addEventListener("click", () => sort(table, column));
  });
}
for (const row of document.querySelectorAll("tr[data-case]")) {
  row.addEventListener("click", () => { open(Number(row.dataset.case)); byId("viewer").scrollIntoView(); });
}
if (byId("viewer")) {
  byId("slider").addEventListener("input", draw);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => { byId("viewer").hidden = true; });
  gallery();
}
