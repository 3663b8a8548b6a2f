// What opens over the conversation: models, settings, recent conversations, more.
class Sheet {
  constructor(view, openers) {
    this.view = view;
    this.openers = openers; // the button of each sheet
    this.name = null; // of the one that is open
    this.node = h("section", { class: "hx-sheet", role: "dialog", hidden: true });
    for (const opener of Object.values(openers)) {
      opener.setAttribute("aria-haspopup", "dialog");
      opener.setAttribute("aria-expanded", "false");
    }
  }

  toggle(name) {
    if (this.name === name) return this.close(true);
    this.close();
    this.name = name;
    this.openers[name].setAttribute("aria-expanded", "true");
    this.node.className = `hx-sheet hx-sheet-${name}`;
    this.node.hidden = false;
    this[`open_${name}`]();
    this.node.querySelector("[data-first]")?.focus();
  }

  close(back = false) {
    if (!this.name) return;
    const opener = this.openers[this.name];
    this.name = null;
    this.node.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    if (back) opener.focus();
  }

  heading(text) {
    this.node.setAttribute("aria-label", text);
    return h("div", { class: "hx-sheet-head" }, h("strong", {}, text), button("close", "Close", () => this.close(true)));
  }

  open_more() {
    const item = (name, label, message, first) =>
      h("button", { type: "button", class: "hx-item", "data-first": first, onclick: () => this.view.act(message) }, icon(name), label);
    this.node.replaceChildren(this.heading("Conversation"),
      item("redo", "Undo the last turn", { do: "undo" }, true),
      item("bin", "Clear the conversation", { do: "clear" }),
      item("file", "Export as Markdown", { do: "export" }));
  }

  open_threads() {
    this.filter = h("input", { type: "search", class: "hx-field", placeholder: "Search conversations", "aria-label": "Search conversations", "data-first": true });
    this.rows = h("div", { class: "hx-rows" }, h("p", { class: "hx-quiet" }, "Reading the log…"));
    this.filter.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.view.send({ do: "threads", search: this.filter.value }), 200);
    });
    this.node.replaceChildren(this.heading("Recent conversations"), this.filter, this.rows);
    this.view.send({ do: "threads", search: "" });
  }

  fillThreads({ items }) {
    if (this.name !== "threads") return;
    this.rows.replaceChildren(...items.map((item) =>
      h("button", { type: "button", class: "hx-item hx-thread", onclick: () => this.view.act({ do: "open", thread: item.id }) },
        h("span", { class: "hx-chip-name" }, item.title), h("small", {}, item.about))));
    if (!items.length) this.rows.append(h("p", { class: "hx-quiet" }, "No conversation in the log matches."));
  }

  open_models() {
    const { endpoints, settings } = this.view.state;
    const listId = `${this.view.id}m`;
    this.endpoint = settings.endpoint ?? "";
    const select = h("select", { class: "hx-field", "aria-label": "Endpoint", onchange: () => { this.endpoint = select.value; this.askModels(); } },
      ...endpoints.map(({ name, label }) => h("option", { value: name, selected: name === this.endpoint }, label)));
    this.filter = h("input", { type: "text", class: "hx-field", placeholder: "Search models, or type a name", role: "combobox", "data-first": true,
      "aria-label": "Model", "aria-expanded": "true", "aria-controls": listId, "aria-autocomplete": "list", autocomplete: "off", spellcheck: false });
    this.rows = h("div", { class: "hx-rows", role: "listbox", id: listId, "aria-label": "Models" });
    this.note = h("p", { class: "hx-quiet", role: "status" });
    this.filter.addEventListener("input", () => this.showModels());
    this.filter.addEventListener("keydown", (event) => this.modelKey(event));
    this.node.replaceChildren(this.heading("Endpoint and model"), select, this.filter, this.rows, this.note);
    this.askModels();
  }

  askModels() {
    this.models = [];
    this.rows.replaceChildren();
    this.note.textContent = "Asking the endpoint for its models…";
    this.view.send({ do: "models", endpoint: this.endpoint });
  }

  fillModels({ endpoint, items, note }) {
    if (this.name !== "models" || endpoint !== this.endpoint) return;
    this.models = items;
    this.note.textContent = note;
    this.showModels();
  }

  showModels() {
    const typed = this.filter.value.trim();
    const matching = this.models.filter(({ id }) => id.toLowerCase().includes(typed.toLowerCase()));
    const options = [...(typed ? [] : [{ id: "", label: "The endpoint's default", about: "" }]), ...matching];
    if (typed && !matching.some(({ id }) => id === typed)) options.push({ id: typed, label: `Use “${typed}”`, about: "" });
    const current = this.view.state.settings.model ?? "";
    this.rows.replaceChildren(...options.map(({ id, label, about }, index) => {
      const option = h("div", { class: "hx-item", role: "option", id: `${this.rows.id}${index}`, "aria-selected": String(id === current), onclick: () => this.choose(id) },
        h("span", { class: "hx-chip-name" }, label ?? id), h("small", {}, about));
      option.value = id;
      return option;
    }));
    this.mark(Math.max(0, typed ? 0 : options.findIndex(({ id }) => id === current)));
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
    this.view.act({ do: "settings", settings: { endpoint: this.endpoint || null, model: model || null } });
  }

  open_settings() {
    this.node.replaceChildren(this.heading("Settings of this conversation"));
    const field = (name, label, tip, node) => {
      node.id = `${this.view.id}${name}`;
      node.classList.add("hx-field");
      node.addEventListener("change", () => this.change(name, node));
      this.node.append(h("label", { htmlFor: node.id }, label), node, h("small", { class: "hx-quiet" }, tip));
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
    if (this.name !== "settings") return;
    for (const [name, node] of Object.entries(this.fields))
      if (node !== document.activeElement) node.value = this.view.state.settings[name] ?? "";
  }

  change(name, node) {
    const value = node.value.trim() === "" ? null : node.type === "number" ? Number(node.value) : node.value;
    if (node.type === "number" && !node.checkValidity()) return node.reportValidity();
    this.view.send({ do: "settings", settings: { [name]: value } });
  }
}

