// Elements, texts and numbers that all parts use. What comes from results is only ever set as text.
const NONE = "-";

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    made.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

// As the tables of llem write numbers: four significant digits, or thousands.
function number(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  if (size >= 1e3 && size < 1e15) return Math.round(value).toLocaleString("en-US");
  if (value === 0) return "0";
  return size < 1e-4 || size >= 1e15 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
}

function given(value) {
  return value !== null && value !== undefined;
}

function interval(low, high) {
  return low === null || low === undefined || high === null || high === undefined
    ? "" : ` (${number(low)} to ${number(high)})`;
}

function cut(text, most) {
  return text.length <= most ? text : `${text.slice(0, most)}...`;
}

// What draws takes some markup in texts; none of ours is any.
function plain(text, most) {
  return cut(String(text), most || 80).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function list(lines) {
  return element("ul", {}, lines.map((line) => element("li", {}, line)));
}

function pairs(facts) {
  return element("dl", {}, facts.flatMap(([label, text]) => [element("dt", {}, label), element("dd", {}, text)]));
}

// A table of texts; the names of columns that have figures are given apart.
function plainTable(caption, head, rows, figures) {
  const side = (place) => ({ class: (figures || []).includes(place) ? "figure" : "" });
  return element("div", { class: "scrolled", tabindex: "0", role: "region", "aria-label": caption },
    element("table", {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, head.map((text, place) => element("th", { scope: "col", ...side(place) }, text)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell, place) =>
        place === 0 ? element("th", { scope: "row" }, cell) : element("td", side(place), element("div", { class: "cell" }, cell))))))));
}

function announce(text) {
  byId("said").textContent = text;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page that was opened from a disk may not be let in everywhere.
    const field = element("textarea", { readonly: true, class: "unseen" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function copyButton(label, text, id) {
  const button = element("button", { type: "button", class: "plain", id, click: async () => {
    const done = await copied(text());
    announce(done ? `${label}: copied` : `${label}: the browser did not let it be copied; select the text below`);
    button.textContent = done ? `${label} (copied)` : `${label} (not copied)`;
  } }, label);
  return button;
}

async function reportData() {
  const holder = byId("data");
  const text = holder.textContent;
  if (holder.dataset.coding !== "gzip") return JSON.parse(text);
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
