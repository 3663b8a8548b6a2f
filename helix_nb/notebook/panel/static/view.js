const PATIENCE_MS = 1500; // until a view says that it waits for the kernel

// The whole panel in one output: it shows what the kernel says, and sends what the user does.
class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.id = newId();
    this.turns = new Map();
    this.state = { busy: false, settings: {}, endpoints: [] };
    this.following = true;
    this.lost = false;
    this.waiting = false;
    this.build();
    this.listen();
    this.send({ do: "hello" });
    this.expectAnswer();
  }

  get busy() { return this.state.busy; }

  send(message, buffers) { this.model.send({ ...message, view: this.id }, undefined, buffers); }

  build() {
    this.composer = new Composer(this);
    this.title = h("span", { class: "hx-title" }, "Chat");
    this.placeText = h("span", {}, "…");
    this.place = h("button", { type: "button", class: "hx-place", onclick: () => this.sheet.toggle("models") }, this.placeText, icon("chevron"));
    const threads = button("clock", "Recent conversations", () => this.sheet.toggle("threads"));
    const settings = button("gear", "Settings", () => this.sheet.toggle("settings"));
    const more = button("more", "More", () => this.sheet.toggle("more"));
    this.sheet = new Sheet(this, { models: this.place, threads, settings, more });
    const head = h("header", { class: "hx-head" }, this.title, this.place, h("span", { class: "hx-space" }),
      button("plus", "New conversation", () => this.act({ do: "clear" })), threads, settings, more);
    this.older = h("button", { type: "button", class: "hx-button hx-older", hidden: true, onclick: () => this.askOlder() }, "Show earlier messages");
    this.list = h("div", { class: "hx-list" });
    this.empty = h("div", { class: "hx-empty", hidden: true });
    this.log = h("div", { class: "hx-log", role: "log", "aria-live": "off", "aria-label": "Conversation", tabIndex: 0 }, this.older, this.empty, this.list);
    this.jump = h("button", { type: "button", class: "hx-jump", hidden: true, onclick: () => { this.follow(); this.composer.focus(); } }, icon("down"), "Jump to latest");
    this.notice = h("div", { class: "hx-notice", hidden: true });
    this.totals = h("span", { class: "hx-totals" });
    this.announcer = h("div", { class: "hx-away", role: "status", "aria-live": "polite" });
    this.root = h("section", { class: "hx-panel", "aria-label": this.landmark(), "data-lm-suppress-shortcuts": "true" },
      head, h("div", { class: "hx-main" }, this.log, this.jump, this.sheet.node), this.notice,
      h("div", { class: "hx-bottom" }, this.composer.node, h("div", { class: "hx-under" }, this.composer.hint, this.totals)),
      this.composer.picker, this.announcer);
    this.el.classList.add("hx-host");
    this.el.append(this.root);
  }

  // Landmarks need names of their own.
  landmark() {
    const taken = [...document.querySelectorAll(".hx-panel")].map((panel) => panel.ariaLabel);
    let name = "Chat";
    for (let n = 2; taken.includes(name); n++) name = `Chat ${n}`;
    return name;
  }

  listen() {
    this.onMessage = (message) => this.receive(message);
    this.model.on("msg:custom", this.onMessage);
    this.log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.sizes = new ResizeObserver(() => { this.showPanelOrTranscript(); if (this.following) this.stick(); });
    this.sizes.observe(this.list);
    this.sizes.observe(this.log);
    this.root.addEventListener("keydown", (event) => this.escape(event));
    // On the focused element itself: a shortcut of JupyterLab that asks for that is found before any parent.
    this.root.addEventListener("focusin", ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true"));
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) this.root.addEventListener(name, (event) => this.composer.drag(event));
    // Nothing else says that the kernel was restarted; the event does not say whether it was.
    this.onLine = () => this.checkKernel();
    this.model.on("comm_live_update", this.onLine);
  }

  dispose() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onLine);
    this.sizes.disconnect();
    clearTimeout(this.checking);
    clearTimeout(this.patient);
    clearTimeout(this.announcing);
    this.output?.classList.remove("hx-holds");
  }

  // The static transcript beside a panel is for readers without a kernel: one of the two is hidden.
  // A class on our own output does it; a rule that looked inside would be checked at every step.
  showPanelOrTranscript() {
    this.output ??= this.el.closest(".jp-OutputArea-child");
    const dead = this.answering === false || (!this.heard && this.el.classList.contains("jupyter-widgets-disconnected"));
    this.output?.classList.toggle("hx-holds", !dead);
    this.el.hidden = Boolean(dead && this.el.closest(".jp-OutputArea")?.querySelector(".helix-transcript"));
  }

  // ---- what the kernel says

  receive(message) {
    if (message.to && message.to !== this.id) return;
    clearTimeout(this.patient);
    clearTimeout(this.checking);
    this.setWaiting(false);
    this.setLost(false);
    this.heard = true;
    this.setAnswering(true);
    const handle = this[`on_${message.t}`];
    if (handle) handle.call(this, message);
    if (this.following && message.t !== "stream") this.stick(); // a stream's steps: by the list's size
  }

  // Turns that are shown already stay where they are, with what is edited or focused in them.
  on_snapshot(message) {
    const before = this.turns;
    this.turns = new Map();
    const continues = message.turns.some(({ id }) => before.has(id));
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
    if (message.to == null && !continues) this.sheet.close();
    if (!continues) this.follow();
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
    if (message.turn.answer?.status !== "pending") this.announce(message.turn.id, true);
  }

  on_stream(message) {
    const turn = this.turns.get(message.id);
    if (turn && !turn.stream(message)) this.askSnapshot();
    else this.announce(message.id);
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
    const { busy, place, totals, title, height } = this.state;
    this.root.classList.toggle("hx-busy", busy);
    this.root.setAttribute("aria-busy", busy);
    this.placeText.textContent = place.text;
    this.place.title = place.tip;
    this.title.textContent = title || "Chat";
    this.totals.textContent = totals.text;
    this.totals.title = totals.tip;
    if (height) this.root.style.setProperty("--hx-height", height);
    this.composer.showState(this.state);
    this.showEmpty();
    this.sheet.fillSettings();
  }

  on_notice({ level, text, action }) {
    this.notice.className = `hx-notice hx-${level}`;
    this.notice.hidden = false;
    this.notice.setAttribute("role", level === "error" ? "alert" : "status");
    this.notice.replaceChildren(...[h("span", {}, text),
      action ? h("button", { type: "button", class: "hx-button", onclick: () => { this.notice.hidden = true; this.act(action.send); } }, action.label) : null,
      button("close", "Dismiss", () => { this.notice.hidden = true; this.composer.focus(); })].filter(Boolean));
    clearTimeout(this.fading);
    if (level !== "error") this.fading = setTimeout(() => (this.notice.hidden = !this.notice.contains(document.activeElement)), 10000);
  }

  on_models(message) { this.sheet.fillModels(message); }

  on_threads(message) { this.sheet.fillThreads(message); }

  on_draft(message) { this.composer.write(this.composer.input.value || message.text); } // what is being typed stays

  on_file(message) {
    const url = URL.createObjectURL(new Blob([message.text], { type: "text/markdown" }));
    h("a", { href: url, download: message.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // A message was missed: ask for everything again.
  askSnapshot() {
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

  lastTurn() {
    return [...this.turns.values()].filter((turn) => turn.node.isConnected && turn.data.prompt).pop();
  }

  showEmpty() {
    const { ideas = [], greeting } = this.state;
    this.empty.hidden = this.turns.size > 0 || !greeting;
    if (this.empty.hidden) return;
    this.empty.replaceChildren(h("div", { class: "hx-hello" }, greeting.title), h("p", {}, greeting.text),
      h("div", { class: "hx-ideas" }, ...ideas.map((idea) =>
        h("button", { type: "button", class: "hx-button", onclick: () => this.composer.write(idea) }, idea))));
  }

  // ---- what the user does

  act(message) {
    this.sheet.close();
    this.send(message);
    this.composer.focus();
  }

  escape(event) {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    if (this.sheet.name) this.sheet.close(true);
    else if (this.busy) this.stop();
  }

  submit(text, files) {
    const id = newId();
    // Shown at once, before the kernel answers; the kernel's own account replaces it by its id.
    this.upsert({ id, prompt: text, files, answer: { status: "pending", blocks: [], facts: [] } });
    const described = files.map(({ name, mime, text }) => ({ name, mime, text }));
    this.begin(id, { do: "send", id, text, files: described }, files.map((file) => file.buffer));
  }

  // Ask a turn once more: it is shown as pending at once, before the kernel answers.
  ask(turn, message) {
    const { prompt, files } = turn.data;
    turn.update({ prompt: message.text ?? prompt, files, answer: { status: "pending", blocks: [], thinking: "", tools: [], facts: [] } });
    this.begin(turn.id, message);
  }

  begin(id, message, buffers) {
    this.on_state({ busy: true });
    this.send(message, buffers);
    this.pending = id;
    this.follow();
    this.composer.focus();
    this.expectAnswer();
  }

  stop() {
    this.send({ do: "stop", id: this.pending });
    this.expectAnswer();
    this.composer.focus();
  }

  // ---- whether the kernel answers

  expectAnswer() {
    clearTimeout(this.patient);
    this.patient = setTimeout(() => this.setWaiting(true), PATIENCE_MS);
  }

  setWaiting(yes) {
    if (this.waiting === yes) return;
    this.waiting = yes;
    this.setAnswering(!yes || this.heard);
    this.composer.showWaiting(yes);
  }

  setAnswering(yes) {
    if (this.answering === Boolean(yes)) return;
    this.answering = Boolean(yes);
    this.showPanelOrTranscript();
  }

  // The line to the kernel has changed: whoever answers now is ours.
  checkKernel() {
    clearTimeout(this.checking);
    this.checking = setTimeout(() => this.setLost(true), PATIENCE_MS);
    try { this.send({ do: "hello" }); } catch { /* no line is left to ask on */ }
  }

  setLost(yes) {
    if (this.lost === yes) return;
    this.lost = yes;
    if (yes) this.on_notice({ level: "error", text: "This panel's kernel has gone. Run its cell again to go on." });
    else this.notice.hidden = true;
    this.composer.disable(yes);
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

  announce(id, all = false) {
    const speak = () => {
      this.announcing = null;
      const turn = this.turns.get(id);
      const text = [turn?.sentences(all), all && turn?.problem].filter(Boolean).join(" ");
      if (text) this.announcer.textContent = text;
    };
    if (all) { clearTimeout(this.announcing); speak(); }
    else this.announcing ??= setTimeout(speak, 1500);
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.dispose();
}

export default { render };
