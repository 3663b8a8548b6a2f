// One turn on the screen: what was asked, and its answer while it grows.
class Turn {
  constructor(view, data) {
    this.view = view;
    this.id = data.id;
    this.seq = 0; // of the last step shown
    this.tailHtml = "";
    this.spoken = 0; // characters that were read out
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
    const question = ({ prompt, files } = {}) => JSON.stringify([prompt, files]);
    const before = this.data;
    this.data = { ...before, ...data };
    if (!this.editing && question(before) !== question(this.data)) this.showAsk(); // else focus and selection stay
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
      if (this.view.busy || !area.value.trim() || !this.view.composer.fits(area.value)) return;
      stop();
      this.view.ask(this, { do: "edit", id: this.id, text: area.value });
    };
    area.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") { event.stopPropagation(); stop(); this.view.composer.focus(); }
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); save(); }
    });
    area.addEventListener("input", () => grow(area));
    this.ask.replaceChildren(h("div", { class: "hx-bubble hx-editing" }, area,
      h("div", { class: "hx-row" },
        h("button", { type: "button", class: "hx-button", onclick: () => { stop(); this.view.composer.focus(); } }, "Cancel"),
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
      if (answer.status !== "pending") this.spoken = Infinity;
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
    const continues = isList(this.tail.firstElementChild) && this.closed.lastElementChild?.classList.contains("hx-listed");
    this.tail.classList.toggle("hx-goes-on", Boolean(continues));
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
      this.thinkingLabel.textContent = "Thinking…";
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
    if (strip.retry) this.strip.append(h("button", { type: "button", class: "hx-button", onclick: () => this.askAgain() }, "Retry"));
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
      button("redo", "Answer again", () => this.askAgain()));
  }

  askAgain() {
    if (!this.view.busy) this.view.ask(this, { do: "regenerate", id: this.id });
  }

  // Finished sentences only: a live region that spoke every token would be noise.
  sentences(all) {
    if (this.spoken === Infinity) return "";
    const text = [...this.closed.children, this.tail].map((block) =>
      block.querySelector("pre") ? "Code block. " : `${block.textContent.trim()} `).join("");
    const fresh = text.slice(this.spoken);
    const end = all ? fresh.length : fresh.search(/[.!?…。！？:]\s(?!.*[.!?…。！？:]\s)/s) + 1;
    if (end <= 0) return "";
    this.spoken = all ? Infinity : this.spoken + end;
    return fresh.slice(0, end).trim();
  }
}
