/* What a visitor can have done with a message, as a button below it. */
"use strict";

window.langbotOffers = ({ say, log, input, offered }) => {
  function button(name, text, press) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.textContent = text;
    made.addEventListener("click", press);
    return made;
  }

  function offer(node, name, text, frame) {
    const press = () => {
      offered(frame());
      input.focus(); // the button goes with what it stands for
    };
    node.append(button(`offer ${name}`, text, press));
  }

  function remove(node, name) {
    const found = node.querySelector(`.${name}`);
    if (found) found.remove();
  }

  function regenerate(node, confirmed) {
    return { type: "regenerate", message_id: node.dataset.id, confirmed };
  }

  return {
    /* Has an answer made anew, once for each run; what came after the question goes. */
    again(node, item) {
      if (item.role === "user" || !item.run_id) return;
      node.dataset.run = item.run_id;
      const same = `.message[data-run="${CSS.escape(item.run_id)}"]`;
      for (const one of log.querySelectorAll(same)) remove(one, "again");
      offer(node, "again", say.again, () => regenerate(node, false));
    },
    /* Says what would go with an answer, before it goes. */
    ask(node, count) {
      const dialog = document.createElement("dialog");
      const text = document.createElement("p");
      text.id = "chat-ask";
      text.textContent = say.again_replaces.replace("%(count)s", count);
      dialog.setAttribute("aria-labelledby", text.id);
      const row = document.createElement("p");
      row.className = "card-buttons";
      row.append(
        button("quiet", say.keep, () => dialog.close()),
        button("danger", say.again, () => dialog.close("again")),
      );
      dialog.append(text, row);
      dialog.addEventListener("close", () => {
        dialog.remove();
        const sure = dialog.returnValue === "again";
        if (sure) offered(regenerate(node, true));
        const asked = node.querySelector(".again");
        (sure || !asked ? input : asked).focus();
      });
      document.body.append(dialog);
      dialog.showModal(); // the first button has the focus: it keeps everything
    },
    /* Has a message that waits not be answered at all. */
    withdrawal(node) {
      if (node.querySelector(".withdraw")) return;
      const frame = () => ({ type: "withdraw", message_id: node.dataset.message });
      offer(node, "withdraw", say.withdraw, frame);
    },
    endWithdrawal(node) {
      remove(node, "withdraw");
    },
  };
};
