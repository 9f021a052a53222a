"use strict";
// The test of an agent: says something by REST and follows the run's stream.

(function () {
    const DELTAS = ["message.delta", "reasoning.delta"];
    const ENDS = ["run.completed", "run.failed"];
    const TONES = {
        "run.completed": "good", "run.failed": "bad", "warning": "warn",
        "run.started": "busy", "action.requested": "warn", "run.adopted": "warn",
    };

    function data(id) { return JSON.parse(document.getElementById(id).textContent); }

    function element(name, className, text) {
        const made = document.createElement(name);
        if (className) { made.className = className; }
        if (text !== undefined) { made.textContent = text; }
        return made;
    }

    function textOf(content) {
        if (typeof content === "string") { return content; }
        if (!Array.isArray(content)) { return ""; }
        return content.map(function (part) { return part.text || ""; }).filter(Boolean).join("\n");
    }

    function messageOf(event) {
        const message = event.data.message;
        return textOf(message && message.content) || textOf(event.data.content) || event.data.text || "";
    }

    function summaryOf(event) {
        const found = event.data;
        const named = [found.tool_name, found.code, found.level, found.error, found.reason, found.name];
        const words = named.filter(function (one) { return typeof one === "string" && one; });
        const said = messageOf(event) || (typeof found.message === "string" ? found.message : "");
        return [...words, said].filter(Boolean).join(": ");
    }

    class Trial {
        constructor(root) {
            this.root = root;
            this.at = data("trial-addresses");
            this.words = data("trial-words");
            this.said = root.querySelector("[data-lb-said]");
            this.ledger = root.querySelector("[data-lb-ledger]");
            this.status = root.querySelector("[data-lb-status]");
            this.form = root.querySelector("[data-lb-say]");
            this.field = this.form.querySelector("textarea");
            this.stopButton = root.querySelector("[data-lb-stop]");
            this.conversation = null;
            this.round = 0; // each new conversation is one; answers of earlier ones are dropped
            this.listen();
        }

        listen() {
            const trial = this;
            this.form.addEventListener("submit", function (event) {
                event.preventDefault();
                trial.send();
            });
            this.field.addEventListener("keydown", function (event) {
                if (event.key !== "Enter" || event.shiftKey || event.isComposing) { return; }
                event.preventDefault();
                trial.send();
            });
            this.stopButton.addEventListener("click", function () { trial.stop(); });
            this.root.querySelector("[data-lb-anew]").addEventListener("click", function () { trial.anew(); });
        }

        address(name, id) { return this.at[name].replace(this.at.any, id); }

        async ask(address, body) {
            const token = this.form.querySelector("[name=csrfmiddlewaretoken]").value;
            const answer = await fetch(address, {
                method: "POST", credentials: "same-origin", body: JSON.stringify(body),
                headers: {"Content-Type": "application/json", "X-CSRFToken": token},
            });
            const found = await answer.json().catch(function () { return {}; });
            if (!answer.ok) { throw new Error(found.detail || found.title || answer.statusText); }
            return found;
        }

        say(who, role, text) {
            const empty = this.said.querySelector("[data-lb-empty]");
            if (empty) { empty.remove(); }
            const row = element("div", "lb-saying lb-role-" + role);
            row.append(element("strong", "", who), element("div", "lb-text", text));
            this.said.append(row);
            row.scrollIntoView({block: "nearest"});
            return row.lastChild;
        }

        async send() {
            const text = this.field.value.trim();
            if (this.busy) { this.status.textContent = this.words.busy; }
            if (!text || this.busy) { return; }
            this.setBusy(true, this.words.sending);
            this.say(this.words.you, "user", text);
            this.field.value = "";
            const round = this.round;
            try {
                const answer = this.conversation
                    ? await this.ask(this.address("again", this.conversation), {text: text, agent: this.at.agent})
                    : await this.ask(this.at.test, {text: text});
                if (round === this.round) { this.conversation = answer.conversation; }
                const run = answer.run_id || await this.promoted(answer.message_id);
                if (round === this.round) { this.follow(run); } else { this.cancel(run); }
            } catch (error) {
                if (round !== this.round) { return; }
                const why = error instanceof TypeError ? this.words.unreachable : error.message;
                this.fail(this.words.refused.replace("%s", why));
            }
        }

        // A queued message has a run once the one before it has ended.
        async promoted(message) {
            this.status.textContent = this.words.waiting;
            for (;;) {
                const answer = await fetch(this.address("queued", message), {credentials: "same-origin"});
                if (!answer.ok) { throw new Error(answer.statusText); }
                const found = await answer.json();
                if (found.run_id) { return found.run_id; }
                if (found.status !== "queued") { throw new Error(found.status); }
                await new Promise(function (resolve) { window.setTimeout(resolve, 500); });
            }
        }

        follow(run) {
            this.run = run;
            this.began = null;
            this.reply = null;
            this.last = null;
            this.started = false;
            this.ledger.replaceChildren();
            this.status.textContent = this.words.running;
            this.stopButton.hidden = false;
            this.showRun(run);
            this.source = new EventSource(this.address("stream", run));
            this.sayWhatItWaitsFor(run);
            const trial = this;
            Object.keys(this.words.types).forEach(function (type) {
                trial.source.addEventListener(type, function (message) { trial.take(JSON.parse(message.data)); });
            });
            // The browser comes back by itself; closed for good means that it is over.
            this.source.addEventListener("error", function () {
                if (trial.source.readyState === EventSource.CLOSED) { trial.end(); }
            });
        }

        // Nothing streams while no plugin takes the run: the run itself knows why.
        async sayWhatItWaitsFor(run) {
            while (this.run === run && this.source !== null && !this.started) {
                await new Promise(function (resolve) { window.setTimeout(resolve, 1000); });
                const answer = await fetch(this.address("run", run), {credentials: "same-origin"}).catch(function () { return null; });
                if (this.started || this.run !== run || !answer || !answer.ok) { continue; }
                const found = await answer.json();
                const words = found.status === "queued" && this.words.waits[found.status_reason];
                if (words && !this.started && this.source) { this.status.textContent = words; }
            }
        }

        showRun(run) {
            const place = this.root.querySelector("[data-lb-run]");
            const link = element("a", "lb-open", this.words.open);
            link.href = this.address("page", run);
            place.replaceChildren(link);
        }

        take(event) {
            this.write(event);
            if (event.type === "run.started") {
                this.started = true;
                this.status.textContent = this.words.running;
            }
            if (event.type === "action.requested") { this.awaitDecision(event.data); }
            if (event.type === "action.resolved") { this.status.textContent = this.words.running; }
            if (event.type === "message.delta") { this.stream(event.data.text || ""); }
            if (event.type === "message.completed") { this.complete(messageOf(event)); }
            if (ENDS.includes(event.type)) { this.end(event); }
        }

        stream(text) {
            // Read out once it is whole, not word by word.
            this.said.setAttribute("aria-busy", "true");
            if (!this.reply) { this.reply = this.say(this.root.dataset.lbTrial, "assistant", ""); }
            this.reply.textContent += text;
            this.reply.scrollIntoView({block: "nearest"});
        }

        // A question ends the run; a tool call holds it up until somebody has decided.
        awaitDecision(asked) {
            const form = asked.payload || {};
            const question = form.fallback_text || form.title || asked.reason || "";
            const link = element("a", "lb-open", this.words.inbox);
            link.href = this.at.inbox;
            this.say(this.words.decides, "asked", question).append(" ", link);
            this.status.textContent = this.words.decides;
        }

        complete(text) {
            if (!this.reply) { this.stream(""); }
            if (text) { this.reply.textContent = text; }
            this.reply.textContent = this.reply.textContent || this.words.nothing;
            this.said.removeAttribute("aria-busy");
            this.reply = null;
        }

        write(event) {
            if (DELTAS.includes(event.type) && this.last && this.last.type === event.type) {
                this.last.number.textContent = this.last.first + "–" + event.seq;
                this.last.text.textContent += event.data.text || "";
                return;
            }
            const at = Date.parse(event.created_at);
            if (this.began === null) { this.began = at; }
            this.took = at - this.began;
            const row = element("tr");
            const number = element("td", "lb-number-column", String(event.seq));
            const kind = element("td", "lb-event");
            kind.append(element("span", "lb-badge lb-" + (TONES[event.type] || "calm"), this.words.types[event.type] || event.type));
            kind.append(element("code", "lb-code-name", event.type));
            const content = element("td");
            const text = element("div", "lb-text", summaryOf(event));
            content.append(text);
            if (!DELTAS.includes(event.type) && Object.keys(event.data).length) {
                const more = element("details");
                more.append(element("summary", "", "JSON"), element("pre", "", JSON.stringify(event.data, null, 2)));
                content.append(more);
            }
            row.append(number, element("td", "lb-time", "+" + ((at - this.began) / 1000).toFixed(2) + " s"), kind, content);
            this.ledger.append(row);
            const box = this.ledger.closest(".lb-scroll");
            box.scrollTop = box.scrollHeight;
            this.last = {type: event.type, first: event.seq, number: number, text: text};
        }

        async end(event) {
            if (this.source) { this.source.close(); this.source = null; }
            if (this.reply) { this.complete(""); }
            const run = this.run;
            const failed = event && event.type === "run.failed";
            if (failed) { this.say(this.words.types["run.failed"], "error", summaryOf(event)); }
            this.setBusy(false, "");
            try {
                const answer = await fetch(this.address("run", run), {credentials: "same-origin"});
                const found = await answer.json();
                if (run !== this.run) { return; }
                const status = this.words.statuses[found.status] || found.status || "";
                this.status.textContent = status + " · " + (this.took / 1000).toFixed(2) + " s";
            } catch { this.status.textContent = this.words.unreachable; }
        }

        fail(text) {
            this.say("", "error", text);
            this.setBusy(false, "");
        }

        setBusy(busy, status) {
            this.busy = busy;
            this.form.querySelector("[type=submit]").disabled = busy;
            if (!busy) { this.stopButton.hidden = true; this.field.focus(); }
            this.status.textContent = status;
        }

        stop() { this.cancel(this.run); }

        cancel(run) {
            this.ask(this.address("cancel", run), {}).catch(function () { /* it has ended */ });
        }

        anew() {
            if (this.source) {
                this.stop();
                this.source.close();
            }
            this.round += 1;
            this.source = this.reply = this.last = this.run = this.conversation = null;
            this.said.removeAttribute("aria-busy");
            this.setBusy(false, "");
            this.said.replaceChildren(element("p", "lb-muted", this.words.started));
            this.ledger.replaceChildren();
            this.root.querySelector("[data-lb-run]").replaceChildren();
            this.field.focus();
        }
    }

    document.querySelectorAll("[data-lb-trial]").forEach(function (root) { new Trial(root); });
})();
