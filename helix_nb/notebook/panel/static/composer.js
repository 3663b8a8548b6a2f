const LIMIT = `one message takes ${bytes(MAX_BYTES)} in all.`;
const IMAGE = /^image\/(png|jpe?g|gif|webp)$/;
const ACCEPTED = "image/png,image/jpeg,image/gif,image/webp,text/*,.md,.py,.json,.csv,.tsv,.yaml,.yml,.toml,.ipynb,.sql,.log,.tex,.html,.js,.ts,.css,.sh,.r,.jl,.c,.cpp,.h,.java,.go,.rs,.xml";
const KEYS = "Enter sends · Shift+Enter breaks · Esc stops";
const WAITING = "Waiting for the kernel: a cell is running, or it has gone";
const total = (files) => files.reduce((sum, file) => sum + file.size, 0);

// Where the user writes: the text, what is attached to it, and the button that sends or stops.
class Composer {
  constructor(view) {
    this.view = view;
    this.files = [];
    this.depth = 0; // of a drag: it enters and leaves each element inside
    this.chips = h("div", { class: "hx-chips", hidden: true });
    this.input = h("textarea", { class: "hx-input", dir: "auto", rows: 1, placeholder: "Ask anything", "aria-label": "Message", "aria-describedby": `${view.id}k` });
    this.picker = h("input", { type: "file", multiple: true, class: "hx-away", tabIndex: -1, "aria-hidden": "true", accept: ACCEPTED });
    this.go = button("send", "Send", () => (view.busy ? view.stop() : this.submit()), "hx-go");
    this.hint = h("span", { class: "hx-hint", id: `${view.id}k` }, KEYS);
    this.node = h("div", { class: "hx-composer" }, this.chips,
      h("div", { class: "hx-line" }, button("clip", "Attach images or text files", () => this.picker.click()), this.input, this.go));
    this.input.addEventListener("input", () => grow(this.input));
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) { event.preventDefault(); this.attach(event.clipboardData.files); }
    });
    this.picker.addEventListener("change", () => { this.attach(this.picker.files); this.picker.value = ""; });
  }

  focus() { this.input.focus({ preventScroll: true }); }

  showState({ busy, who }) {
    setIcon(this.go, busy ? "stop" : "send", busy ? "Stop" : "Send");
    this.input.placeholder = `Ask ${who}`;
  }

  showWaiting(yes) { this.hint.textContent = yes ? WAITING : KEYS; }

  disable(yes) { this.input.disabled = this.go.disabled = yes; }

  write(text) {
    this.input.value = text;
    grow(this.input);
    this.focus();
  }

  key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.view.busy) this.submit();
    } else if (event.key === "ArrowUp" && !this.input.value && !this.view.busy) {
      const last = this.view.lastTurn();
      if (last) { event.preventDefault(); last.edit(); }
    }
  }

  submit() {
    const text = this.input.value, files = this.files;
    if ((!text.trim() && !files.length) || !this.fits(text, files)) return;
    this.files = [];
    this.showChips();
    this.write("");
    this.view.submit(text, files);
  }

  drag(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    this.depth += { dragenter: 1, dragleave: -1 }[event.type] || 0;
    if (event.type === "drop") { this.depth = 0; this.attach(event.dataTransfer.files); }
    this.view.root.classList.toggle("hx-drop", this.depth > 0);
  }

  async attach(list) {
    const refused = [];
    for (const file of [...list]) { // the list itself is emptied once its event is over
      const problem = await this.read(file);
      if (problem) refused.push(`${file.name} ${problem}`);
    }
    if (refused.length) this.view.on_notice({ level: "error", text: refused.join(" ") });
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
    if (!fit) this.view.on_notice({ level: "error", text: `The message (${bytes(size)}) is too large: ${LIMIT}` });
    return fit;
  }

  showChips() {
    this.chips.hidden = !this.files.length;
    this.chips.replaceChildren(...this.files.map((file) => chip(file, () => {
      this.files = this.files.filter((other) => other !== file);
      this.showChips();
      this.focus();
    })));
  }
}

