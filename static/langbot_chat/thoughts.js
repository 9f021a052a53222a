/* What an agent thinks, where its policy shows it: a closed block before the reply. */
"use strict";

window.langbotThoughts = ({ say, log }) => {
  function block(run, number, before) {
    const key = `${run}:${number}`;
    const known = log.querySelector(`[data-thought="${CSS.escape(key)}"]`);
    if (known) return known;
    const node = document.createElement("li");
    node.className = "message";
    node.dataset.role = "reasoning";
    node.dataset.thought = key;
    const details = document.createElement("details");
    details.setAttribute("aria-live", "off"); // nobody wants to hear it letter by letter
    const summary = document.createElement("summary");
    summary.textContent = say.reasoning;
    const body = document.createElement("div");
    body.className = "text";
    details.append(summary, body);
    node.append(details);
    log.insertBefore(node, before);
    return node;
  }

  function textOf(node) {
    return node.querySelector(".text");
  }

  return {
    /* A part of the run under way. */
    add(frame, before) {
      const node = block(frame.run_id, frame.data.block || 1, before);
      textOf(node).append(frame.data.text || "");
    },
    /* A row of the transcript; it may stand on the page already. */
    show(item, before) {
      const node = block(item.run_id, item.block || 1, before);
      node.dataset.id = item.id;
      textOf(node).textContent = item.text;
    },
  };
};
