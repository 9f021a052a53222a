"use strict";
// The page of a run under way: told by its stream that something happened, it fetches
// the new rows, which the server writes. Without the stream it asks every two seconds.

(function () {
    const PAUSE = 400; // milliseconds between two looks, however much is streamed
    const WITHOUT_STREAM = 2000;

    function seqOf(row) {
        const number = row.querySelector("[data-first]");
        return number ? number.dataset.first : "";
    }

    // Streamed text goes on in the line that it began in.
    function joined(last, fresh) {
        if (!last || !last.dataset.delta || last.dataset.delta !== fresh.dataset.delta) { return false; }
        const text = last.querySelector(".lb-text");
        const more = fresh.querySelector(".lb-text");
        text.textContent += more.textContent;
        const cell = last.querySelector(".lb-seq");
        const end = fresh.querySelector(".lb-seq").textContent.trim().split("–").pop();
        const begin = document.createElement("span");
        begin.dataset.first = begin.textContent = seqOf(last);
        cell.replaceChildren(begin, "–" + end);
        return true;
    }

    function append(body, html) {
        const table = document.createElement("table");
        table.innerHTML = "<tbody>" + html + "</tbody>";
        const rows = [...table.querySelectorAll("tbody > tr")];
        if (rows.length && joined(body.lastElementChild, rows[0])) { rows.shift(); }
        body.append(...rows);
    }

    async function look(table) {
        const place = new URLSearchParams({after: table.dataset.after, call: table.dataset.call});
        const answer = await fetch(table.dataset.url + "?" + place, {credentials: "same-origin"});
        if (!answer.ok) { return; }
        const news = await answer.json();
        append(table.querySelector("tbody"), news.rows);
        table.dataset.after = news.after;
        table.dataset.call = news.call;
        const summary = document.getElementById("run-summary");
        if (summary.innerHTML !== news.summary) { summary.innerHTML = news.summary; }
        if (!news.live) { end(table); }
    }

    function end(table) {
        table.removeAttribute("data-lb-follow");
        document.querySelectorAll("[data-lb-live-only]").forEach(function (part) { part.remove(); });
        // What can be done with it is another thing now.
        const buttons = document.querySelector("[data-lb-offers]");
        if (buttons) { refresh(buttons); }
    }

    async function refresh(part) {
        const answer = await fetch(window.location.href, {credentials: "same-origin"});
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("[data-lb-offers]");
        if (fresh) { part.replaceWith(document.adoptNode(fresh)); } else { part.remove(); }
    }

    function isLive(table) { return table.hasAttribute("data-lb-follow"); }

    function ask(table) {
        const timer = window.setInterval(function () {
            if (!isLive(table)) { window.clearInterval(timer); return; }
            if (!document.hidden) { look(table).catch(function () { /* the next turn tries again */ }); }
        }, WITHOUT_STREAM);
    }

    // One look at a time; what is told meanwhile is seen by the next one.
    function looker(table) {
        let busy = false;
        let again = false;
        return async function told() {
            if (busy) { again = true; return; }
            busy = true;
            try {
                await look(table);
            } catch {
                again = true;
            }
            window.setTimeout(function () {
                busy = false;
                if (again && isLive(table)) { again = false; told(); }
            }, PAUSE);
        };
    }

    function listen(table) {
        const told = looker(table);
        const stream = new EventSource(table.dataset.stream + "?after=" + table.dataset.after);
        const types = table.dataset.types.split(" ");
        types.forEach(function (type) {
            stream.addEventListener(type, function () {
                told();
                if (type === "run.completed" || type === "run.failed") { stream.close(); }
            });
        });
        stream.addEventListener("error", function () {
            if (stream.readyState === EventSource.CLOSED) { ask(table); }
        });
    }

    document.addEventListener("DOMContentLoaded", function () {
        const table = document.querySelector("table[data-lb-follow]");
        if (!table) { return; }
        document.getElementById("run-live").textContent = table.dataset.says;
        if (table.dataset.stream && window.EventSource) { listen(table); } else { ask(table); }
    });
})();
