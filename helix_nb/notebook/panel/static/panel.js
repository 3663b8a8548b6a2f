// MAX_BYTES, what one message may take, comes from widget.py.
//
// The chat panel's view. The kernel keeps the conversation; a view shows it and reports what the
// user does. HTML enters the page in one place, put(), and only as the kernel's Markdown pipeline
// made it; everything else is built by DOM calls.

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

// One turn on the screen: what was asked, and its answer while it grows.
class Turn {
  constructor(view, data) {
    this.view = view;
    this.id = data.id;
    this.seq = 0;
    this.tailHtml = "";
    this.said = 0;
    this.ask = h("article", { class: "hx-ask", "aria-label": "You" });
    this.thinking = h("details", { class: "hx-think", hidden: true });
    this.thought = h("div", { class: "hx-thought" });
    this.thinkingLabel = h("summary", {}, "Thinking");
    this.thinking.append(this.thinkingLabel, this.thought);
    this.tools = h("div", { class: "hx-tools" });
    this.closed = h("div", { class: "hx-blocks" });
    this.tail = h("div", { class: "hx-tail", dir: "auto" });
    this.waits = h("span");
    this.wait = h("div", { class: "hx-wait" }, h("i"), h("i"), h("i"), this.waits);
    this.strip = h("div", { class: "hx-strip", hidden: true });
    this.factsLine = h("div", { class: "hx-facts" });
    this.acts = h("div", { class: "hx-acts", role: "group", "aria-label": "Answer" });
    this.body = h("div", { class: "hx-body helix-nb" }, this.closed, this.tail);
    this.answer = h("article", { class: "hx-answer", "aria-label": "Answer" },
      this.thinking, this.tools, this.body, this.wait, this.strip,
      h("div", { class: "hx-foot" }, this.factsLine, this.acts));
    this.node = h("div", { class: "hx-turn" }, this.ask, this.answer);
    this.update(data);
  }

  update(data) {
    const asked = ({ prompt, files } = {}) => JSON.stringify([prompt, files]);
    const before = this.data;
    this.data = { ...before, ...data };
    if (!this.editing && asked(before) !== asked(this.data)) this.showAsk(); // else focus and selection stay
    if (data.answer) this.showAnswer(data.answer);
  }

  showAsk() {
    const { prompt, files = [] } = this.data;
    const text = h("div", { class: "hx-text", dir: "auto" }, prompt);
    const acts = h("div", { class: "hx-acts", role: "group", "aria-label": "Message" },
      button("edit", "Edit and ask again", () => this.edit()),
      this.copyButton("Copy message", () => prompt),
      button("bin", "Delete this turn", () => this.view.act({ do: "delete", id: this.id })));
    const chips = files.length ? h("div", { class: "hx-chips" }, ...files.map((file) => chip(file))) : null;
    this.ask.replaceChildren(h("div", { class: "hx-bubble" }, chips, prompt ? text : null), acts);
    requestAnimationFrame(() => { if (text.scrollHeight > text.clientHeight + 2) text.tabIndex = 0; });
    this.ask.hidden = !prompt && !files.length;
  }

  copyButton(label, text) {
    const node = button("copy", label, () => copy(text(), node, label));
    return node;
  }

  edit() {
    this.editing = true;
    const area = h("textarea", { class: "hx-input", dir: "auto", value: this.data.prompt, "aria-label": "Edit message", rows: 1 });
    const stop = () => { this.editing = false; this.showAsk(); };
    const save = () => {
      if (this.view.busy || !area.value.trim() || !this.view.fits(area.value)) return;
      stop();
      this.view.ask(this, { do: "edit", id: this.id, text: area.value });
    };
    area.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") { event.stopPropagation(); stop(); this.view.focus(); }
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); save(); }
    });
    area.addEventListener("input", () => grow(area));
    this.ask.replaceChildren(h("div", { class: "hx-bubble hx-editing" }, area,
      h("div", { class: "hx-row" },
        h("button", { type: "button", class: "hx-button", onclick: () => { stop(); this.view.focus(); } }, "Cancel"),
        h("button", { type: "button", class: "hx-button hx-strong", onclick: save }, "Ask again"))));
    grow(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  showAnswer(answer) {
    this.answer.setAttribute("aria-label", answer.who ? `Answer of ${answer.who}` : "Answer");
    if (answer.blocks) {
      this.closed.replaceChildren(...answer.blocks.map((html) => this.block(html)));
      this.setTail(answer.tail || "");
      this.seq = answer.seq || 0;
      if (answer.status !== "pending") this.said = Infinity;
    }
    if (answer.thinking != null) this.thought.textContent = answer.thinking;
    this.thinking.hidden = !this.thought.textContent;
    if (answer.waits != null) this.waits.textContent = answer.waits;
    if (answer.thought) this.thinkingLabel.textContent = answer.thought;
    if (answer.tools) this.showTools(answer.tools);
    if (answer.source != null) this.source = answer.source;
    this.status = answer.status || this.status;
    this.node.dataset.status = this.status;
    this.showStrip(answer.strip);
    this.showFacts(answer.facts);
    this.showActs();
    this.showWait();
  }

  block(html) {
    const node = withCopyButtons(put(h("div", { class: "hx-block", dir: "auto" }), html));
    if (isList(node.firstElementChild)) node.classList.add("hx-listed");
    return node;
  }

  setTail(html) {
    this.tailHtml = html;
    put(this.tail, html);
    const goesOn = isList(this.tail.firstElementChild) && this.closed.lastElementChild?.classList.contains("hx-listed");
    this.tail.classList.toggle("hx-goes-on", Boolean(goesOn));
  }

  // A step of the stream: finished blocks, and how the open tail's HTML changed.
  stream(step) {
    if (step.seq <= this.seq) return true;
    if (step.seq !== this.seq + 1) return false;
    this.seq = step.seq;
    if (step.reset) {
      this.closed.replaceChildren();
      this.thought.replaceChildren();
      this.setTail("");
    }
    if (step.blocks) this.closed.append(...step.blocks.map((html) => this.block(html)));
    if (step.tail) this.setTail(this.tailHtml.slice(0, step.tail.keep) + step.tail.add);
    if (step.think) {
      this.thought.append(step.think);
      this.thinking.hidden = false;
      this.thinkingLabel.textContent = step.thought || "Thinking…";
    }
    this.showWait();
    return true;
  }

  showWait() {
    const hidden = this.status !== "pending" || Boolean(this.tailHtml || this.closed.childElementCount);
    if (this.wait.hidden !== hidden) this.wait.hidden = hidden; // even an unchanged value would have styles computed
    this.body.classList.toggle("hx-live", this.status === "pending" && Boolean(this.tailHtml));
  }

  showTools(tools) {
    this.tools.replaceChildren(...tools.map((tool) =>
      h("details", { class: "hx-think hx-tool" }, h("summary", {}, `Called ${tool.name}`),
        h("pre", { class: "hx-thought", tabIndex: 0 }, tool.arguments), tool.result ? h("pre", { class: "hx-thought", tabIndex: 0 }, tool.result) : null)));
  }

  showStrip(strip) {
    this.strip.hidden = !strip;
    this.problem = strip?.text;
    this.strip.replaceChildren();
    if (!strip) return;
    this.strip.className = `hx-strip hx-${strip.level}`;
    if (strip.level === "error") this.strip.append(icon("warn"));
    this.strip.append(h("span", {}, strip.text));
    if (strip.retry) this.strip.append(h("button", { type: "button", class: "hx-button", onclick: () => this.again() }, "Retry"));
  }

  showFacts(facts) {
    if (!facts) return;
    this.factsLine.replaceChildren(...facts.map((fact) =>
      h("span", { class: "hx-fact", title: fact.tip }, fact.v, h("span", { class: "hx-away" }, ` (${fact.tip})`))));
  }

  showActs() {
    const pending = this.status === "pending";
    if (pending) return this.acts.replaceChildren();
    if (this.acts.childElementCount) return;
    this.acts.append(
      this.copyButton("Copy answer", () => this.source ?? this.body.innerText),
      button("redo", "Answer again", () => this.again()));
  }

  again() {
    if (!this.view.busy) this.view.ask(this, { do: "regenerate", id: this.id });
  }

  // Finished sentences only: a live region that spoke every token would be noise.
  sentences(all) {
    if (this.said === Infinity) return "";
    const spoken = [...this.closed.children, this.tail].map((block) =>
      block.querySelector("pre") ? "Code block. " : `${block.textContent.trim()} `).join("");
    const fresh = spoken.slice(this.said);
    const end = all ? fresh.length : fresh.search(/[.!?…。！？:]\s(?!.*[.!?…。！？:]\s)/s) + 1;
    if (end <= 0) return "";
    this.said = all ? Infinity : this.said + end;
    return fresh.slice(0, end).trim();
  }
}

function chip(file, remove) {
  const picture = file.url ? h("img", { src: file.url, alt: "" }) : icon("file");
  return h("span", { class: "hx-chip" }, picture, h("span", { class: "hx-chip-name" }, file.name), file.size ? h("small", {}, bytes(file.size)) : null,
    remove ? button("close", `Remove ${file.name}`, remove) : null);
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 220)}px`;
}

const LIMIT = `one message takes ${bytes(MAX_BYTES)} in all.`;
const total = (files) => files.reduce((sum, file) => sum + file.size, 0);
const IMAGE = /^image\/(png|jpe?g|gif|webp)$/;

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.id = newId();
    this.turns = new Map();
    this.files = [];
    this.state = { busy: false, settings: {}, endpoints: [] };
    this.following = true;
    this.lost = false;
    this.build();
    this.listen();
    this.send({ do: "hello" });
    this.patience();
  }

  get busy() { return this.state.busy; }

  send(message, buffers) { this.model.send({ ...message, view: this.id }, undefined, buffers); }

  build() {
    const label = "Message";
    this.title = h("span", { class: "hx-title" }, "Chat");
    this.place = h("button", { type: "button", class: "hx-place", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => this.toggle("models") },
      (this.placeText = h("span", {}, "…")), icon("chevron"));
    this.recentButton = button("clock", "Recent conversations", () => this.toggle("threads"));
    this.gearButton = button("gear", "Settings", () => this.toggle("settings"));
    this.moreButton = button("more", "More", () => this.toggle("more"));
    for (const node of [this.recentButton, this.gearButton, this.moreButton]) {
      node.setAttribute("aria-haspopup", "dialog");
      node.setAttribute("aria-expanded", "false");
    }
    const head = h("header", { class: "hx-head" }, this.title, this.place,
      h("span", { class: "hx-space" }),
      button("plus", "New conversation", () => this.act({ do: "clear" })), this.recentButton, this.gearButton, this.moreButton);
    this.older = h("button", { type: "button", class: "hx-button hx-older", hidden: true, onclick: () => this.askOlder() }, "Show earlier messages");
    this.list = h("div", { class: "hx-list" });
    this.empty = h("div", { class: "hx-empty", hidden: true });
    this.log = h("div", { class: "hx-log", role: "log", "aria-live": "off", "aria-label": "Conversation", tabIndex: 0 }, this.older, this.empty, this.list);
    this.jump = h("button", { type: "button", class: "hx-jump", hidden: true, onclick: () => { this.follow(); this.focus(); } }, icon("down"), "Jump to latest");
    this.notice = h("div", { class: "hx-notice", hidden: true });
    this.sheet = h("section", { class: "hx-sheet", role: "dialog", hidden: true });
    this.chips = h("div", { class: "hx-chips", hidden: true });
    this.input = h("textarea", { class: "hx-input", dir: "auto", rows: 1, placeholder: "Ask anything", "aria-label": label, "aria-describedby": `${this.id}k` });
    this.picker = h("input", { type: "file", multiple: true, class: "hx-away", tabIndex: -1, "aria-hidden": "true",
      accept: "image/png,image/jpeg,image/gif,image/webp,text/*,.md,.py,.json,.csv,.tsv,.yaml,.yml,.toml,.ipynb,.sql,.log,.tex,.html,.js,.ts,.css,.sh,.r,.jl,.c,.cpp,.h,.java,.go,.rs,.xml" });
    this.go = button("send", "Send", () => (this.busy ? this.stop() : this.submit()), "hx-go");
    this.hint = h("span", { class: "hx-hint", id: `${this.id}k` }, "Enter sends · Shift+Enter breaks · Esc stops");
    this.totals = h("span", { class: "hx-totals" });
    this.composer = h("div", { class: "hx-composer" }, this.chips,
      h("div", { class: "hx-line" }, button("clip", "Attach images or text files", () => this.picker.click()), this.input, this.go));
    this.live = h("div", { class: "hx-away", role: "status", "aria-live": "polite" });
    const taken = [...document.querySelectorAll(".hx-panel")].map((panel) => panel.ariaLabel);
    let name = "Chat"; // landmarks need names of their own
    for (let n = 2; taken.includes(name); n++) name = `Chat ${n}`;
    this.root = h("section", { class: "hx-panel", "aria-label": name, "data-lm-suppress-shortcuts": "true" },
      head, h("div", { class: "hx-main" }, this.log, this.jump, this.sheet), this.notice,
      h("div", { class: "hx-bottom" }, this.composer, h("div", { class: "hx-under" }, this.hint, this.totals)), this.picker, this.live);
    this.el.classList.add("hx-host");
    this.el.append(this.root);
  }

  listen() {
    this.onMessage = (message) => this.receive(message);
    this.model.on("msg:custom", this.onMessage);
    this.log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.sizes = new ResizeObserver(() => { this.takeTurns(); if (this.following) this.stick(); });
    this.sizes.observe(this.list);
    this.sizes.observe(this.log);
    this.input.addEventListener("input", () => grow(this.input));
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keydown", (event) => this.escape(event));
    // On the focused element itself: a shortcut of JupyterLab that asks for that is found before any parent.
    this.root.addEventListener("focusin", ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true"));
    this.picker.addEventListener("change", () => { this.attach(this.picker.files); this.picker.value = ""; });
    this.input.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) { event.preventDefault(); this.attach(event.clipboardData.files); }
    });
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) this.root.addEventListener(name, (event) => this.drag(event));
    // Nothing else says that the kernel was restarted; the event does not say whether it was.
    this.onLine = () => this.check();
    this.model.on("comm_live_update", this.onLine);
  }

  dispose() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLine);
    this.sizes.disconnect();
    clearTimeout(this.checking);
    clearTimeout(this.patient);
    clearTimeout(this.speaking);
    this.output?.classList.remove("hx-holds");
  }

  // The static transcript beside a panel is for readers without a kernel: one of the two is hidden.
  // A class on our own output does it; a rule that looked inside would be checked at every step.
  takeTurns() {
    this.output ??= this.el.closest(".jp-OutputArea-child");
    const dead = this.dead || (!this.heard && this.el.classList.contains("jupyter-widgets-disconnected"));
    this.output?.classList.toggle("hx-holds", !dead);
    this.el.hidden = Boolean(dead && this.el.closest(".jp-OutputArea")?.querySelector(".helix-transcript"));
  }

  // ---- what the kernel says

  receive(message) {
    if (message.to && message.to !== this.id) return;
    clearTimeout(this.patient);
    clearTimeout(this.checking);
    this.waiting(false);
    this.gone(false);
    this.heard = true;
    this.answers(true);
    const handle = this[`on_${message.t}`];
    if (handle) handle.call(this, message);
    if (this.following && message.t !== "stream") this.stick(); // a stream's steps: by the list's size
  }

  // Turns that are shown already stay where they are, with what is edited or focused in them.
  on_snapshot(message) {
    const before = this.turns;
    this.turns = new Map();
    let goesOn = false;
    for (const { id } of message.turns) goesOn ||= before.has(id);
    for (const data of message.turns) {
      const turn = before.get(data.id);
      if (!turn) this.make(data);
      else { this.turns.set(data.id, turn); turn.update(data); }
    }
    for (const [id, turn] of before) if (!this.turns.has(id)) turn.node.remove();
    let at = this.list.firstChild;
    for (const { node } of this.turns.values()) {
      if (node === at) at = at.nextSibling;
      else this.list.insertBefore(node, at);
    }
    this.older.hidden = !message.more;
    this.on_state(message.state);
    if (message.to == null && !goesOn) this.closeSheet();
    if (!goesOn) this.follow();
  }

  on_older(message) {
    const top = this.list.firstElementChild;
    const before = top ? top.getBoundingClientRect().top : 0;
    const nodes = message.turns.filter((data) => !this.turns.has(data.id)).map((data) => this.make(data).node);
    this.list.prepend(...nodes);
    if (!message.more && this.older === document.activeElement) this.log.focus({ preventScroll: true });
    this.older.hidden = !message.more;
    if (top && !this.following) this.log.scrollTop += top.getBoundingClientRect().top - before;
  }

  on_turn(message) {
    this.upsert(message.turn);
    if (message.turn.answer?.status !== "pending") this.say(message.turn.id, true);
  }

  on_stream(message) {
    const turn = this.turns.get(message.id);
    if (turn && !turn.stream(message)) this.again();
    else this.say(message.id);
  }

  on_waits(message) {
    const turn = this.turns.get(message.id);
    if (turn) turn.waits.textContent = message.text;
  }

  on_drop(message) {
    for (const id of message.ids) {
      this.turns.get(id)?.node.remove();
      this.turns.delete(id);
    }
    this.showEmpty();
  }

  on_state(state) {
    this.state = { ...this.state, ...state };
    const { busy, place, totals, title, height, who } = this.state;
    setIcon(this.go, busy ? "stop" : "send", busy ? "Stop" : "Send");
    this.root.classList.toggle("hx-busy", busy);
    this.root.setAttribute("aria-busy", busy);
    this.placeText.textContent = place.text;
    this.place.title = place.tip;
    this.title.textContent = title || "Chat";
    this.totals.textContent = totals.text;
    this.totals.title = totals.tip;
    this.input.placeholder = `Ask ${who}`;
    if (height) this.root.style.setProperty("--hx-height", height);
    this.showEmpty();
    if (this.open === "settings") this.fillSettings();
  }

  on_notice({ level, text, action }) {
    this.notice.className = `hx-notice hx-${level}`;
    this.notice.hidden = false;
    this.notice.setAttribute("role", level === "error" ? "alert" : "status");
    this.notice.replaceChildren(...[h("span", {}, text),
      action ? h("button", { type: "button", class: "hx-button", onclick: () => { this.notice.hidden = true; this.act(action.send); } }, action.label) : null,
      button("close", "Dismiss", () => { this.notice.hidden = true; this.focus(); })].filter(Boolean));
    clearTimeout(this.fading);
    if (level !== "error") this.fading = setTimeout(() => (this.notice.hidden = !this.notice.contains(document.activeElement)), 10000);
  }

  on_models(message) {
    if (this.open === "models" && message.endpoint === this.chosen) this.fillModels(message);
  }

  on_threads(message) {
    if (this.open === "threads") this.fillThreads(message.items);
  }

  on_draft(message) {
    this.input.value ||= message.text; // what is being typed stays
    grow(this.input);
    this.focus();
  }

  on_file(message) {
    const url = URL.createObjectURL(new Blob([message.text], { type: "text/markdown" }));
    h("a", { href: url, download: message.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // A message was missed: ask for everything again.
  again() {
    if (this.asked) return;
    this.asked = setTimeout(() => (this.asked = null), 500);
    this.send({ do: "hello" });
  }

  make(data) {
    const turn = new Turn(this, data);
    this.turns.set(data.id, turn);
    return turn;
  }

  upsert(data) {
    const turn = this.turns.get(data.id);
    if (turn) turn.update(data);
    else this.list.append(this.make(data).node);
    this.showEmpty();
  }

  showEmpty() {
    const { ideas = [], greeting } = this.state;
    this.empty.hidden = this.turns.size > 0 || !greeting;
    if (this.empty.hidden) return;
    this.empty.replaceChildren(h("div", { class: "hx-hello" }, greeting.title), h("p", {}, greeting.text),
      h("div", { class: "hx-ideas" }, ...ideas.map((idea) =>
        h("button", { type: "button", class: "hx-button", onclick: () => { this.input.value = idea; grow(this.input); this.focus(); } }, idea))));
  }

  // ---- what the user does

  act(message) {
    this.closeSheet();
    this.send(message);
    this.focus();
  }

  focus() { this.input.focus({ preventScroll: true }); }

  key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.busy) this.submit();
    } else if (event.key === "ArrowUp" && !this.input.value && !this.busy) {
      const last = [...this.turns.values()].filter((turn) => turn.node.isConnected && turn.data.prompt).pop();
      if (last) { event.preventDefault(); last.edit(); }
    }
  }

  escape(event) {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    if (this.open) this.closeSheet(true);
    else if (this.busy) this.stop();
  }

  submit() {
    const text = this.input.value;
    if ((!text.trim() && !this.files.length) || !this.fits(text, this.files)) return;
    const id = newId();
    const files = this.files.map(({ name, mime, text }) => ({ name, mime, text }));
    const buffers = this.files.map((file) => file.buffer);
    // Shown at once, before the kernel answers; the kernel's own account replaces it by its id.
    this.upsert({ id, prompt: text, files: this.files, answer: { status: "pending", blocks: [], facts: [] } });
    this.on_state({ busy: true });
    this.send({ do: "send", id, text, files }, buffers);
    this.pending = id;
    this.input.value = "";
    this.files = [];
    this.showChips();
    grow(this.input);
    this.follow();
    this.focus();
    this.patience();
  }

  // Ask a turn once more: it is shown as pending at once, before the kernel answers.
  ask(turn, message) {
    const { prompt, files } = turn.data;
    turn.update({ prompt: message.text ?? prompt, files, answer: { status: "pending", blocks: [], thinking: "", tools: [], facts: [] } });
    this.pending = turn.id;
    this.on_state({ busy: true });
    this.send(message);
    this.follow();
    this.focus();
    this.patience();
  }

  stop() {
    this.send({ do: "stop", id: this.pending });
    this.patience();
    this.focus();
  }

  patience() {
    clearTimeout(this.patient);
    this.patient = setTimeout(() => this.waiting(true), 1500);
  }

  answers(yes) {
    if (this.dead === !yes) return;
    this.dead = !yes;
    this.takeTurns();
  }

  waiting(yes) {
    if (yes === Boolean(this.kept)) return;
    this.answers(!yes || this.heard);
    if (yes) this.kept = this.hint.textContent;
    this.hint.textContent = yes ? "Waiting for the kernel: a cell is running, or it has gone" : this.kept;
    if (!yes) this.kept = null;
  }

  // The line to the kernel has changed: whoever answers now is ours.
  check() {
    clearTimeout(this.checking);
    this.checking = setTimeout(() => this.gone(true), 1500);
    try { this.send({ do: "hello" }); } catch { /* no line is left to ask on */ }
  }

  gone(yes) {
    if (this.lost === yes) return;
    this.lost = yes;
    if (yes) this.on_notice({ level: "error", text: "This panel's kernel has gone. Run its cell again to go on." });
    else this.notice.hidden = true;
    this.input.disabled = this.go.disabled = yes;
  }

  drag(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    this.depth = (this.depth || 0) + ({ dragenter: 1, dragleave: -1 }[event.type] || 0);
    if (event.type === "drop") { this.depth = 0; this.attach(event.dataTransfer.files); }
    this.root.classList.toggle("hx-drop", this.depth > 0);
  }

  async attach(list) {
    const refused = [];
    for (const file of [...list]) { // the list itself is emptied once its event is over
      const problem = await this.read(file);
      if (problem) refused.push(`${file.name} ${problem}`);
    }
    if (refused.length) this.on_notice({ level: "error", text: refused.join(" ") });
    this.showChips();
    this.focus();
  }

  // Take a file along; what is wrong with it, otherwise.
  async read(file) {
    if (file.size > MAX_BYTES - total(this.files)) return `(${bytes(file.size)}) is too large: ${LIMIT}`;
    const entry = { name: file.name || "pasted image", mime: file.type, size: file.size };
    try {
      entry.buffer = await file.arrayBuffer();
    } catch {
      return "cannot be read; folders cannot be attached.";
    }
    if (IMAGE.test(file.type)) entry.url = URL.createObjectURL(file);
    else {
      try {
        entry.text = true;
        if (new TextDecoder("utf-8", { fatal: true }).decode(entry.buffer).includes("\0")) throw new TypeError("binary");
      } catch {
        return "is neither text in UTF-8 nor a PNG, JPEG, GIF or WebP image.";
      }
    }
    this.files.push(entry);
  }

  // Jupyter closes the line to the kernel over a larger message.
  fits(text, files = []) {
    const size = new Blob([JSON.stringify(text)]).size;
    const fit = size + total(files) <= MAX_BYTES;
    if (!fit) this.on_notice({ level: "error", text: `The message (${bytes(size)}) is too large: ${LIMIT}` });
    return fit;
  }

  showChips() {
    this.chips.hidden = !this.files.length;
    this.chips.replaceChildren(...this.files.map((file) => chip(file, () => {
      this.files = this.files.filter((one) => one !== file);
      this.showChips();
      this.focus();
    })));
  }

  // ---- scrolling: it follows the answer unless the reader has scrolled up

  atEnd() { return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 32; }

  scrolled() {
    const up = this.log.scrollTop < (this.top ?? 0) - 1;
    this.top = this.log.scrollTop;
    if (this.atEnd()) this.following = true;
    else if (up) this.following = false;
    this.jump.hidden = this.following;
  }

  stick() {
    this.log.scrollTop = this.log.scrollHeight;
    this.top = this.log.scrollTop;
  }

  follow() {
    this.following = true;
    this.jump.hidden = true;
    this.stick();
  }

  askOlder() {
    const first = this.list.querySelector(".hx-turn");
    const id = [...this.turns.values()].find((turn) => turn.node === first)?.id;
    this.following = false;
    this.send({ do: "older", before: id });
  }

  // ---- speech

  say(id, all = false) {
    const speak = () => {
      this.speaking = null;
      const turn = this.turns.get(id);
      const text = [turn?.sentences(all), all && turn?.problem].filter(Boolean).join(" ");
      if (text) this.live.textContent = text;
    };
    if (all) { clearTimeout(this.speaking); speak(); }
    else this.speaking ??= setTimeout(speak, 1500);
  }

  // ---- the sheet: models, settings, recent conversations, more

  toggle(name) {
    if (this.open === name) return this.closeSheet(true);
    this.closeSheet();
    this.open = name;
    this.opener = { models: this.place, settings: this.gearButton, threads: this.recentButton, more: this.moreButton }[name];
    this.opener.setAttribute("aria-expanded", "true");
    this.sheet.className = `hx-sheet hx-sheet-${name}`;
    this.sheet.hidden = false;
    this[`open_${name}`]();
    this.sheet.querySelector("[data-first]")?.focus();
  }

  closeSheet(back = false) {
    if (!this.open) return;
    this.open = null;
    this.sheet.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
    if (back) this.opener.focus();
  }

  heading(text) {
    this.sheet.setAttribute("aria-label", text);
    return h("div", { class: "hx-sheet-head" }, h("strong", {}, text), button("close", "Close", () => this.closeSheet(true)));
  }

  open_more() {
    const item = (name, label, message, first) =>
      h("button", { type: "button", class: "hx-item", "data-first": first, onclick: () => this.act(message) }, icon(name), label);
    this.sheet.replaceChildren(this.heading("Conversation"),
      item("redo", "Undo the last turn", { do: "undo" }, true),
      item("bin", "Clear the conversation", { do: "clear" }),
      item("file", "Export as Markdown", { do: "export" }));
  }

  open_threads() {
    this.filter = h("input", { type: "search", class: "hx-field", placeholder: "Search conversations", "aria-label": "Search conversations", "data-first": true });
    this.rows = h("div", { class: "hx-rows" }, h("p", { class: "hx-quiet" }, "Reading the log…"));
    this.filter.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.send({ do: "threads", search: this.filter.value }), 200);
    });
    this.sheet.replaceChildren(this.heading("Recent conversations"), this.filter, this.rows);
    this.send({ do: "threads", search: "" });
  }

  fillThreads(items) {
    this.rows.replaceChildren(...items.map((item) =>
      h("button", { type: "button", class: "hx-item hx-thread", onclick: () => this.act({ do: "open", thread: item.id }) },
        h("span", { class: "hx-chip-name" }, item.title), h("small", {}, item.about))));
    if (!items.length) this.rows.append(h("p", { class: "hx-quiet" }, "No conversation in the log matches."));
  }

  open_models() {
    const { endpoints, settings } = this.state;
    this.chosen = settings.endpoint ?? "";
    const select = h("select", { class: "hx-field", "aria-label": "Endpoint", onchange: () => { this.chosen = select.value; this.askModels(); } },
      ...endpoints.map(({ name, label }) => h("option", { value: name, selected: name === this.chosen }, label)));
    this.filter = h("input", { type: "text", class: "hx-field", placeholder: "Search models, or type a name", role: "combobox", "data-first": true,
      "aria-label": "Model", "aria-expanded": "true", "aria-controls": `${this.id}m`, "aria-autocomplete": "list", autocomplete: "off", spellcheck: false });
    this.rows = h("div", { class: "hx-rows", role: "listbox", id: `${this.id}m`, "aria-label": "Models" });
    this.below = h("p", { class: "hx-quiet", role: "status" });
    this.filter.addEventListener("input", () => this.showModels());
    this.filter.addEventListener("keydown", (event) => this.modelKey(event));
    this.sheet.replaceChildren(this.heading("Endpoint and model"), select, this.filter, this.rows, this.below);
    this.askModels();
  }

  askModels() {
    this.models = [];
    this.rows.replaceChildren();
    this.below.textContent = "Asking the endpoint for its models…";
    this.send({ do: "models", endpoint: this.chosen });
  }

  fillModels({ items, note }) {
    this.models = items;
    this.below.textContent = note;
    this.showModels();
  }

  showModels() {
    const wanted = this.filter.value.trim();
    const found = this.models.filter(({ id }) => id.toLowerCase().includes(wanted.toLowerCase()));
    const options = [...(wanted ? [] : [{ id: "", label: "The endpoint's default", about: "" }]), ...found];
    if (wanted && !found.some(({ id }) => id === wanted)) options.push({ id: wanted, label: `Use “${wanted}”`, about: "" });
    const current = this.state.settings.model ?? "";
    this.rows.replaceChildren(...options.map(({ id, label, about }, index) => {
      const option = h("div", { class: "hx-item", role: "option", id: `${this.id}m${index}`, "aria-selected": String(id === current), onclick: () => this.choose(id) },
        h("span", { class: "hx-chip-name" }, label ?? id), h("small", {}, about));
      option.value = id;
      return option;
    }));
    this.mark(Math.max(0, wanted ? 0 : options.findIndex(({ id }) => id === current)));
  }

  mark(index) {
    this.marked = index;
    [...this.rows.children].forEach((row, at) => row.classList.toggle("hx-marked", at === index));
    const row = this.rows.children[index];
    if (!row) return;
    this.filter.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest" });
  }

  modelKey(event) {
    if (event.isComposing) return;
    const last = this.rows.children.length - 1;
    if (event.key === "ArrowDown") this.mark(Math.min(last, this.marked + 1));
    else if (event.key === "ArrowUp") this.mark(Math.max(0, this.marked - 1));
    else if (event.key === "Enter" && last >= 0) this.choose(this.rows.children[this.marked].value);
    else return;
    event.preventDefault();
  }

  choose(model) {
    this.act({ do: "settings", settings: { endpoint: this.chosen || null, model: model || null } });
  }

  open_settings() {
    this.sheet.replaceChildren(this.heading("Settings of this conversation"));
    const field = (name, label, tip, node) => {
      node.id = `${this.id}${name}`;
      node.classList.add("hx-field");
      node.addEventListener("change", () => this.set(name, node));
      this.sheet.append(h("label", { htmlFor: node.id }, label), node, h("small", { class: "hx-quiet" }, tip));
      return node;
    };
    const number = (props) => h("input", { type: "number", placeholder: "The endpoint's default", ...props });
    this.fields = {
      system: field("system", "System prompt", "Sent before every message of this conversation.", h("textarea", { rows: 4, "data-first": true, placeholder: "None" })),
      temperature: field("temperature", "Temperature", "0 to 2. Higher is more varied.", number({ min: 0, max: 2, step: "any" })),
      top_p: field("top_p", "Top p", "0 to 1. Lower keeps to likelier words.", number({ min: 0, max: 1, step: "any" })),
      max_tokens: field("max_tokens", "Max tokens", "The longest answer, in tokens.", number({ min: 1, step: 1 })),
    };
    this.fillSettings();
  }

  fillSettings() {
    for (const [name, node] of Object.entries(this.fields))
      if (node !== document.activeElement) node.value = this.state.settings[name] ?? "";
  }

  set(name, node) {
    const value = node.value.trim() === "" ? null : node.type === "number" ? Number(node.value) : node.value;
    if (node.type === "number" && !node.checkValidity()) return node.reportValidity();
    this.send({ do: "settings", settings: { [name]: value } });
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default { render };
