/* What a visitor can have done with a message, as a button below it. */
"use strict";

window.langbotOffers = ({ say, log, input, offered }) => {
  function button(node, name, text, frame) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `offer ${name}`;
    made.textContent = text;
    made.addEventListener("click", () => {
      offered(frame());
      input.focus(); // the button goes with what it stands for
    });
    node.append(made);
  }

  function remove(node, name) {
    const found = node.querySelector(`.${name}`);
    if (found) found.remove();
  }

  return {
    /* Has an answer made anew, once for each run; what came after the question goes. */
    again(node, item) {
      if (item.role === "user" || !item.run_id) return;
      node.dataset.run = item.run_id;
      const same = `.message[data-run="${CSS.escape(item.run_id)}"]`;
      for (const one of log.querySelectorAll(same)) remove(one, "again");
      const frame = () => ({ type: "regenerate", message_id: node.dataset.id });
      button(node, "again", say.again, frame);
    },
    /* Has a message that waits not be answered at all. */
    withdrawal(node) {
      if (node.querySelector(".withdraw")) return;
      const frame = () => ({ type: "withdraw", message_id: node.dataset.message });
      button(node, "withdraw", say.withdraw, frame);
    },
    endWithdrawal(node) {
      remove(node, "withdraw");
    },
  };
};
