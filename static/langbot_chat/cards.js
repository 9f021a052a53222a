/* What waits for a person, as cards in the chat. Text from the network is only ever set
   as textContent. Visitors answer questions over the socket; tool calls are approved by
   signed-in people over HTTP, where their session and the CSRF token are checked. */
"use strict";

window.langbotCards = ({ page, log, send }) => {
  const say = page.strings;
  const states = new Map(); // card id -> the status it is shown with

  function make(name, text, attributes = {}) {
    const node = document.createElement(name);
    if (text) node.textContent = text;
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  function find(id) {
    return log.querySelector(`[data-card="${CSS.escape(id)}"]`);
  }

  function frameOf(card) {
    const known = find(card.id);
    if (known) return known;
    const node = make("li", "", { class: "card", "data-card": card.id });
    node.append(make("h2", "", { class: "card-title" }));
    node.append(make("div", "", { class: "card-body" }));
    node.append(make("p", "", { class: "card-state", role: "status" }));
    log.insertBefore(node, laterThan(card));
    return node;
  }

  /* The first message that was said after the card; null for the end. */
  function laterThan(card) {
    const asked = Date.parse(card.created_at);
    const isLater = (node) => Date.parse(node.dataset.at) > asked;
    return [...log.children].find(isLater) || null;
  }

  function show(items) {
    for (const card of items) {
      if (states.get(card.id) === card.status) continue;
      states.set(card.id, card.status);
      const node = frameOf(card);
      node.dataset.status = card.status;
      draw(node, card);
    }
  }

  function draw(node, card) {
    const isQuestion = card.kind === "question";
    const body = node.querySelector(".card-body");
    const held = node.contains(document.activeElement);
    node.querySelector(".card-title").textContent = titleOf(card);
    body.replaceChildren();
    if (card.status !== "open") {
      tell(node, say.outcomes[card.status] || card.status);
      if (!isQuestion && page.decides) explain(node, card.id);
    } else if (isQuestion) {
      tell(node, "");
      body.append(questionForm(node, card));
    } else {
      tell(node, page.decides ? "" : say.waits_for_approval);
      if (page.decides) explain(node, card.id);
    }
    if (held && card.status !== "open") focusOn(node); // its button is gone
  }

  function titleOf(card) {
    if (card.kind === "question") return card.title || say.question;
    return card.status === "open" ? say.approval : say.approval_over;
  }

  function focusOn(node) {
    node.tabIndex = -1;
    node.focus();
  }

  function tell(node, text) {
    node.querySelector(".card-state").textContent = text;
    node.classList.remove("refused");
  }

  /* Says on the card itself that its answer was refused; whether there is such a card. */
  function refuse(id, text) {
    const node = id && find(id);
    if (!node) return false;
    tell(node, text);
    node.classList.add("refused");
    node.querySelector(".card-state").scrollIntoView({ block: "nearest" });
    return true;
  }

  /* Questions */

  function questionForm(node, card) {
    const asked = card.form || {};
    const form = make("form", "", { class: "card-form", autocomplete: "off" });
    if (asked.description) form.append(make("p", asked.description));
    const readers = (asked.fields || []).map((field, index) =>
      addField(form, field, `card-${card.id}-${index}`),
    );
    const row = make("p", "", { class: "card-buttons" });
    const buttons = asked.actions && asked.actions.length ? asked.actions : [{ id: "" }];
    for (const one of buttons) {
      const button = make("button", one.label || say.send_answer, { type: "submit" });
      button.dataset.style = one.style || "default";
      button.value = one.id;
      row.append(button);
    }
    const dismiss = make("button", say.dismiss, { type: "button", class: "quiet" });
    dismiss.addEventListener("click", () => answer(node, card.id, null));
    row.append(dismiss);
    form.append(row);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const values = {};
      for (const read of readers) Object.assign(values, read());
      const pressed = event.submitter && event.submitter.value;
      if (pressed) values.action_id = pressed;
      answer(node, card.id, values);
    });
    return form;
  }

  function answer(node, id, values) {
    tell(node, say.sending);
    send({ type: "answer", action_id: id, values });
  }

  function addField(form, field, id) {
    if (field.type === "multiselect") return addChoices(form, field, id);
    const label = make("label", field.label || field.id, { for: id });
    const input = inputOf(field, id);
    if (field.required && field.type !== "boolean") input.required = true;
    const line = make("p", "", { class: "card-field" });
    line.append(...(field.type === "boolean" ? [input, label] : [label, input]));
    form.append(line);
    return () => valueOf(field, input);
  }

  function inputOf(field, id) {
    const kinds = { boolean: "checkbox", number: "number" };
    let input;
    if (field.type === "textarea") {
      input = make("textarea", "", { id, rows: 3 });
    } else if (field.type === "select") {
      input = make("select", "", { id });
      input.append(make("option", "—", { value: "" }));
      for (const one of field.options || []) {
        input.append(make("option", one.label || one.value, { value: one.value }));
      }
    } else {
      input = make("input", "", { id, type: kinds[field.type] || "text" });
      if (field.type === "number") input.step = "any";
    }
    if (field.placeholder) input.placeholder = field.placeholder;
    if (field.type === "boolean") input.checked = field.default === true;
    else if (field.default !== undefined && field.default !== null) {
      input.value = field.default;
    }
    return input;
  }

  function valueOf(field, input) {
    if (field.type === "boolean") return { [field.id]: input.checked };
    if (input.value === "") return {};
    return { [field.id]: field.type === "number" ? Number(input.value) : input.value };
  }

  function addChoices(form, field, id) {
    const group = make("fieldset", "", { class: "card-field" });
    group.append(make("legend", field.label || field.id));
    const boxes = (field.options || []).map((one, index) => {
      const box = make("input", "", { id: `${id}-${index}`, type: "checkbox" });
      box.value = one.value;
      const label = make("label", one.label || one.value, { for: box.id });
      const line = make("p");
      line.append(box, label);
      group.append(line);
      return box;
    });
    if (field.required && boxes.length) wantOne(group, boxes);
    form.append(group);
    return () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      return chosen.length ? { [field.id]: chosen } : {};
    };
  }

  /* The browser knows required boxes, and no required group of them. */
  function wantOne(group, boxes) {
    const check = () => {
      const isChosen = boxes.some((box) => box.checked);
      boxes[0].setCustomValidity(isChosen ? "" : say.choose);
    };
    group.classList.add("wanted");
    group.addEventListener("change", check);
    check();
  }

  /* Approvals, for signed-in people who may decide */

  async function ask(id, options = {}) {
    const answered = await fetch(`${page.decides.address}${id}/`, options);
    const found = await answered.json();
    if (!answered.ok && answered.status !== 409) throw new Error(answered.status);
    return { isLate: answered.status === 409, ...found };
  }

  async function explain(node, id) {
    try {
      const found = await ask(id);
      const shown = states.get(id) === "open" && found.status === "open";
      detail(node, id, found, shown);
    } catch {
      tell(node, say.error);
    }
  }

  function detail(node, id, found, isOpen) {
    const body = node.querySelector(".card-body");
    body.replaceChildren(make("p", found.tool, { class: "card-tool" }));
    if (found.reason) body.append(make("p", found.reason));
    body.append(
      make("pre", JSON.stringify(found.arguments, null, 2), {
        tabindex: "0",
        role: "region",
        "aria-label": say.arguments,
      }),
    );
    if (found.resolution) tell(node, found.resolution);
    if (!isOpen) return;
    const reason = make("input", "", { id: `card-${id}-reason`, maxlength: 1000 });
    const line = make("p", "", { class: "card-field" });
    line.append(make("label", say.reason, { for: reason.id }), reason);
    const row = make("p", "", { class: "card-buttons" });
    for (const [decision, text] of [
      ["approve", say.approve],
      ["reject", say.reject],
    ]) {
      const button = make("button", text, { type: "button" });
      button.dataset.style = decision === "reject" ? "danger" : "primary";
      button.addEventListener("click", () => decide(node, id, decision, reason.value));
      row.append(button);
    }
    body.append(line, row);
  }

  async function decide(node, id, decision, reason) {
    tell(node, say.sending);
    try {
      const found = await ask(id, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "X-CSRFToken": page.decides.csrf,
        },
        body: JSON.stringify({ decision, reason }),
      });
      node.querySelector(".card-buttons")?.remove();
      node.querySelector(".card-field")?.remove();
      focusOn(node);
      tell(node, found.isLate ? found.detail : found.resolution);
    } catch {
      tell(node, say.error);
    }
  }

  return { show, refuse };
};
