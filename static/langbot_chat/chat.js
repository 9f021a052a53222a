/* The web chat. Text from the network is only ever set as textContent; only the HTML of
   replies, which the server makes of Markdown and cleans, is set as HTML. */
"use strict";

(() => {
  const page = JSON.parse(document.getElementById("chat-page").textContent);
  const say = page.strings;
  const part = (name) => document.getElementById(`chat-${name}`);
  const log = part("log");
  const waiting = part("waiting");
  const input = part("text");
  const stop = part("stop");
  const end = window.langbotEnd(document.querySelector("main"));

  const CLOSED = 3;
  const OPEN = 1;
  const LONGEST_PAUSE = 15000;

  let socket = null;
  let pause = 500;
  let turn = null; // { run, key, seq, text, node } of the run under way
  const unsent = new Map(); // client key -> text, until the server has accepted it
  const memory = window.langbotMemory(page.storage);

  /* Messages on the page */

  function bubble(role, text) {
    const node = document.createElement("li");
    node.className = "message";
    node.dataset.role = role;
    const meta = document.createElement("p");
    meta.className = "meta";
    meta.textContent = { user: say.you, assistant: say.agent }[role] || say.notice;
    const body = document.createElement("div");
    body.className = "text";
    body.textContent = text;
    node.append(meta, body);
    return node;
  }

  function removeReplaced(items) {
    const kept = new Set(items.map((item) => item.id));
    for (const node of log.querySelectorAll(".message[data-id]")) {
      if (!kept.has(node.dataset.id)) node.remove();
    }
  }

  function setText(node, text) {
    node.querySelector(".text").textContent = text;
  }

  /* A reply as it was meant to look, a failure in words that visitors understand. */
  function showContent(node, item) {
    if (item.html) {
      const body = node.querySelector(".text");
      body.innerHTML = item.html;
      body.classList.add("rich");
      for (const link of body.querySelectorAll("a")) link.target = "_blank";
    } else {
      setText(node, textOf(item));
    }
  }

  function textOf(item) {
    if (typeof item.code !== "string") return item.text;
    return say.failures[item.code] || say.failures[""];
  }

  function setNote(node, note) {
    const meta = node.querySelector(".meta");
    const name = { user: say.you, assistant: say.agent }[node.dataset.role] || say.notice;
    meta.textContent = note ? `${name} · ${note}` : name;
  }

  /* What was said during a run stands before its reply, as in the transcript. */
  function beforeReply(node) {
    const first = turn && turn.node;
    offers.endWithdrawal(node);
    log.insertBefore(node, first);
  }

  function append(list, node) {
    if (list === log) offers.endWithdrawal(node);
    list.append(node);
    return node;
  }

  function find(name, value) {
    if (!value) return null;
    return document.querySelector(`.message[data-${name}="${CSS.escape(value)}"]`);
  }

  /* What already stands on the page for an item of the transcript, if anything. */
  function standIn(item) {
    if (item.role === "user") return find("key", item.client_key);
    const live = turn && turn.node && turn.run === item.run_id;
    return item.role === "assistant" && live ? turn.node : null;
  }

  function showItem(item) {
    if (find("id", item.id)) return;
    if (item.role === "reasoning") {
      thoughts.show(item, turn && turn.node);
      return;
    }
    const known = standIn(item);
    const node = known || bubble(item.role, "");
    if (!known || known === (turn && turn.node)) showContent(node, item);
    node.dataset.id = item.id;
    delete node.dataset.state;
    node.dataset.at = item.created_at;
    setNote(node, noteOf(item));
    files.show(node, item.files);
    offers.again(node, item);
    if (item.client_key) {
      node.dataset.key = item.client_key;
      unsent.delete(item.client_key);
    }
    if (known && turn && known === turn.node) {
      node.removeAttribute("aria-busy"); // screen readers speak it now, whole
      turn.node = null;
    }
    if (known && known.parentNode === log) return;
    if (item.role === "user" && turn && turn.run === item.run_id) beforeReply(node);
    else append(log, node);
  }

  function noteOf(item) {
    if (!item.incomplete) return "";
    return item.stopped ? say.incomplete : say.unfinished;
  }

  /* The run under way */

  function beginTurn(frame) {
    if (!turn || turn.run !== frame.run_id) {
      turn = { run: frame.run_id, key: frame.client_key, seq: 0, text: "", node: null };
    }
    const asked = find("key", frame.client_key);
    if (asked && asked.parentNode === waiting) append(log, asked);
    if (asked) {
      delete asked.dataset.state;
      setNote(asked, "");
    }
    setWorking(true);
  }

  function reply() {
    if (!turn.node) {
      turn.node = bubble("assistant", "");
      turn.node.setAttribute("aria-busy", "true");
      append(log, turn.node);
    }
    return turn.node;
  }

  function onEvent(frame) {
    if (!turn || frame.run_id !== turn.run || frame.seq <= turn.seq) return;
    turn.seq = frame.seq;
    const type = frame.event_type;
    if (type === "message.delta") {
      turn.text += frame.data.text || "";
      setText(reply(), turn.text);
    } else if (type === "message.completed" && frame.data.text) {
      turn.done = [turn.done, frame.data.text].filter(Boolean).join("\n\n");
      turn.text = turn.done;
      setText(reply(), turn.text);
      turn.text += "\n\n";
    } else if (type === "reasoning.delta") {
      thoughts.add(frame, turn.node);
    } else if (type === "run.started" || type === "run.resumed") {
      status("working");
      reply();
    } else if (type === "run.paused") {
      status("paused");
    } else if (type === "steering.injected") {
      queue.take(frame.data.taken || []);
    }
  }

  function endTurn(frame) {
    const key = turn && turn.run === frame.run_id ? turn.key : "";
    if (turn && turn.run === frame.run_id) {
      frame.items.forEach(showItem);
      if (turn.node) turn.node.remove(); // it said nothing that was kept
      turn = null;
    } else {
      frame.items.forEach(showItem);
    }
    const asked = frame.forgotten && find("key", key);
    if (asked) asked.remove(); // the next message rolled its turn back
    setWorking(false);
    queue.show(frame.waiting);
  }

  function setWorking(working) {
    const focused = document.activeElement === stop;
    stop.hidden = !working;
    if (focused && !working) input.focus();
    status(working ? "working" : "ready");
  }

  function status(name) {
    const node = part("status");
    node.dataset.state = name;
    if (node.textContent !== say[name]) node.textContent = say[name];
  }

  function textFor(code) {
    return say[code] || say.failures[code] || say.error;
  }

  function complain(code) {
    const node = part("problem");
    node.textContent = code ? textFor(code) : "";
    node.hidden = !code;
  }

  /* Frames */

  const thoughts = window.langbotThoughts({ say, log });
  const files = window.langbotFiles({ page });
  const offers = window.langbotOffers({ say, log, input, offered });
  const queue = window.langbotQueue({
    ...{ say, log, waiting, unsent, offers, find, bubble },
    ...{ setNote, append, beforeReply },
  });
  const cards = window.langbotCards({ page, log, send: transmitFrame });

  const handlers = {
    auth_ok(frame) {
      memory.token = frame.token;
      pause = 500;
      status("ready");
    },
    history(frame) {
      const current = turn && turn.run === frame.running ? turn : null;
      if (frame.anew) removeReplaced(frame.items);
      if (frame.anew) queue.forget(); // what a run had taken up may wait again
      frame.items.forEach(showItem);
      if (turn && !current) {
        if (turn.node) turn.node.remove(); // it ended while we were away
        turn = null;
      }
      if (current && current.node) append(log, current.node);
      queue.show(frame.waiting);
      setWorking(Boolean(frame.running));
      for (const [key, text] of unsent) transmit(key, text);
    },
    accepted(frame) {
      unsent.delete(frame.client_key);
      const node = find("key", frame.client_key);
      if (!node) return;
      if (frame.status === "queued") {
        queue.hold(node, frame.message_id);
      } else if (node.parentNode !== waiting) {
        delete node.dataset.state;
        setNote(node, frame.status === "ignored" ? say.ignored : "");
      }
    },
    turn: beginTurn,
    agent_event: onEvent,
    session_complete: endTurn,
    withdrawn(frame) {
      queue.show(frame.waiting);
    },
    replaces(frame) {
      const node = find("id", frame.message_id);
      if (node) offers.ask(node, frame.messages);
    },
    cards(frame) {
      cards.show(frame.items);
    },
    heartbeat() {
      transmitFrame({ type: "heartbeat_ack" });
    },
    error(frame) {
      if (frame.code === "invalid_token") return; // a new visit begins by itself
      if (cards.refuse(frame.action_id, textFor(frame.code))) return;
      complain(frame.code);
      const node = find("key", frame.client_key);
      if (!node || !unsent.has(frame.client_key)) return;
      if (!input.value) input.value = unsent.get(frame.client_key);
      unsent.delete(frame.client_key);
      node.remove();
    },
  };

  function onMessage(event) {
    const frame = JSON.parse(event.data);
    if (Object.hasOwn(handlers, frame.type)) handlers[frame.type](frame);
  }

  /* The connection */

  function offered(frame) {
    complain("");
    transmitFrame(frame);
  }

  function transmitFrame(frame) {
    if (socket && socket.readyState === OPEN) socket.send(JSON.stringify(frame));
  }

  function transmit(key, text) {
    transmitFrame({ type: "message", text, client_key: key });
  }

  function connect() {
    if (socket && socket.readyState !== CLOSED) return;
    const address = new URL(page.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    socket.addEventListener("open", () => {
      const frame = { type: "auth", token: memory.token };
      if (turn) frame.resume_from = { run_id: turn.run, after: turn.seq };
      transmitFrame(frame);
    });
    socket.addEventListener("message", onMessage);
    socket.addEventListener("close", () => {
      status("offline");
      setTimeout(connect, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    });
  }

  function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function submit(event) {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    if ([...text].length > page.maximum) {
      complain("input_too_large");
      return;
    }
    complain("");
    const key = newKey();
    const node = bubble("user", text);
    node.dataset.key = key;
    node.dataset.state = "sending";
    setNote(node, say.sending);
    append(log, node);
    end.show();
    unsent.set(key, text);
    transmit(key, text);
    input.value = "";
    input.focus();
  }

  part("form").addEventListener("submit", submit);
  stop.addEventListener("click", () => transmitFrame({ type: "interrupt" }));
  input.addEventListener("keydown", (event) => {
    // An input method uses Enter for itself while it composes (Chinese, Japanese).
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    submit(event);
  });
  window.addEventListener("online", connect);
  connect();
  // Who opened the page wants to write; on a phone that would open the keyboard, and
  // inside another page it would take the focus away from that one.
  if (window.self === window.top && window.matchMedia("(pointer: fine)").matches) {
    input.focus({ preventScroll: true });
  }
})();
