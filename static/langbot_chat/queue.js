/* Messages that wait while the agent answers; a run under way may take them up. */
"use strict";

window.langbotQueue = (page) => {
  const { say, log, waiting, unsent, offers, find, bubble } = page;
  const { setNote, append, beforeReply } = page;
  const taken = new Set(); // ids of messages that the run under way answers too

  /* What waits can be taken back until a run has taken it up. */
  function hold(node, messageId) {
    if (node.dataset.id) return; // it is part of the transcript already
    const isTaken = taken.has(messageId);
    node.dataset.message = messageId;
    node.dataset.state = isTaken ? "taken" : "waiting";
    setNote(node, isTaken ? "" : say.queued);
    if (isTaken) {
      beforeReply(node);
    } else {
      offers.withdrawal(node);
      append(waiting, node);
    }
  }

  function end(node) {
    setNote(node, say.withdrawn);
    delete node.dataset.state;
    append(log, node);
  }

  return {
    hold,
    forget: () => taken.clear(),
    /* All that waits now; what stood there and does not was taken back. */
    show(items) {
      const ids = new Set(items.map((item) => item.message_id));
      for (const node of [...waiting.children]) {
        const waits = ids.has(node.dataset.message) || unsent.has(node.dataset.key);
        if (!waits) end(node);
      }
      for (const item of items) {
        const known = find("message", item.message_id) || find("key", item.client_key);
        const node = known || bubble("user", item.text);
        node.dataset.key = item.client_key;
        if (item.taken) taken.add(item.message_id);
        hold(node, item.message_id);
      }
    },
    /* That may be told before these messages are known to wait. */
    take(ids) {
      for (const id of ids) {
        taken.add(id);
        const node = find("message", id);
        if (node && node.parentNode === waiting) hold(node, id);
      }
    },
  };
};
