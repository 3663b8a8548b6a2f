// The chat panel's view. The kernel keeps the conversation; a view shows it and reports what the
// user does. HTML enters the page in one place, put(), and only as the kernel's Markdown pipeline
// made it; everything else is built by DOM calls. widget.py joins these files to one module:
// dom (elements), turn (one turn), composer (what is written), sheet (what opens over it), view.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  send: "M12 19V5M5 12l7-7 7 7",
  stop: "M7 7h10v10H7z",
  clip: "M21 11l-9 9a5.5 5.5 0 0 1-8-8l9-9a3.7 3.7 0 0 1 5 5l-9 9a1.8 1.8 0 0 1-2.6-2.6l8.3-8.2",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M5 12l5 5 9-10",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  redo: "M20 11a8 8 0 1 0-2 6M20 4v7h-7",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v6M14 11v6",
  gear: "M4 7h9M17 7h3M4 17h3M11 17h9M13 7a2 2 0 1 0 4 0a2 2 0 1 0-4 0M7 17a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  clock: "M12 7v5l3 2M4 12a8 8 0 1 0 3-6M4 4v4h4",
  plus: "M12 5v14M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M12 5v14M5 12l7 7 7-7",
  chevron: "M7 10l5 5 5-5",
  close: "M6 6l12 12M18 6L6 18",
  warn: "M12 4L2.5 20h19zM12 10v4M12 17h.01",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
};

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"], ["focusable", "false"]])
    svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const button = (name, label, onclick, extra = "") =>
  h("button", { type: "button", class: `hx-icon ${extra}`, title: label, "aria-label": label, onclick }, icon(name));

function setIcon(node, name, label) {
  node.replaceChildren(icon(name));
  node.title = label;
  node.setAttribute("aria-label", label);
}

// The second wall: the browser's own sanitiser, where it exists, told what the pipeline may make.
const MATH = "http://www.w3.org/1998/Math/MathML";
const words = (text) => text.split(" ");
const WALL = {
  elements: [
    ...words("a blockquote br code em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul"),
    ...words("math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none")
      .map((name) => ({ name, namespace: MATH })),
  ],
  attributes: words("class href start align display notation linethickness mathvariant mathcolor accent accentunder fence form largeop lspace rspace maxsize minsize movablelimits separator stretchy symmetric linebreak width displaystyle scriptlevel columnalign columnlines rowlines rowspacing columnspacing"),
};

function put(node, html) {
  if (typeof node.setHTML !== "function") node.innerHTML = html;
  else {
    try { node.setHTML(html, { sanitizer: WALL }); }
    catch { node.setHTML(html); } // an older draft of the sanitiser: its own safe default
  }
  for (const link of node.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return node;
}

async function copy(text, node, label) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { value: text, class: "hx-away" });
    node.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    node.focus();
  }
  setIcon(node, "done", "Copied");
  setTimeout(() => setIcon(node, "copy", label), 1600);
}

function withCopyButtons(block) {
  for (const pre of block.querySelectorAll("pre")) {
    const label = "Copy code";
    const copyCode = button("copy", label, () => copy(pre.textContent.replace(/\n$/, ""), copyCode, label), "hx-copy");
    const frame = h("div", { class: "hx-code" });
    pre.replaceWith(frame);
    pre.tabIndex = 0;
    frame.append(pre, copyCode);
  }
  for (const table of block.querySelectorAll("table")) {
    const frame = h("div", { class: "hx-table", tabIndex: 0, role: "group", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const formula of block.querySelectorAll("math[display=block]")) formula.tabIndex = 0; // it may scroll
  return block;
}

const isList = (node) => node?.localName === "ul" || node?.localName === "ol";

function bytes(size) {
  return size < 1000 ? `${size} B` : size < 1e6 ? `${Math.round(size / 1000)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

let count = 0;
const newId = () => `v${Date.now().toString(36)}${(count++).toString(36)}${Math.random().toString(36).slice(2, 6)}`;
function chip(file, remove) {
  const picture = file.url ? h("img", { src: file.url, alt: "" }) : icon("file");
  return h("span", { class: "hx-chip" }, picture, h("span", { class: "hx-chip-name" }, file.name), file.size ? h("small", {}, bytes(file.size)) : null,
    remove ? button("close", `Remove ${file.name}`, remove) : null);
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 220)}px`;
}
