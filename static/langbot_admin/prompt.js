"use strict";
// The editor of rows (messages of a prompt, tools of clients): adds, moves and removes
// them. Without scripts the page has one empty row to fill in, and one without text is
// dropped.

(function () {
    const TEXTS = "input, textarea";

    function rowsOf(editor) {
        return Array.from(editor.querySelectorAll(":scope > .lb-message"));
    }

    function renumber(editor) {
        const name = editor.dataset.lbPrompt;
        rowsOf(editor).forEach(function (row, number) {
            row.setAttribute("aria-label", row.getAttribute("aria-label").replace(/\d+/, number + 1));
            row.querySelectorAll("select, " + TEXTS).forEach(function (field) {
                const part = field.name.match(/\d+$/)[0];
                field.name = name + "_" + number + "_" + part;
                field.id = "id_" + field.name;
            });
        });
        const rows = rowsOf(editor);
        rows.forEach(function (row, number) {
            row.querySelector("[data-lb-move='-1']").disabled = number === 0;
            row.querySelector("[data-lb-move='1']").disabled = number === rows.length - 1;
        });
    }

    function isEmpty(row) {
        return Array.from(row.querySelectorAll(TEXTS)).every(function (one) { return !one.value; });
    }

    function empty(row) {
        row.querySelectorAll(TEXTS).forEach(function (one) { one.value = ""; });
    }

    function button(label, act) {
        const made = document.createElement("button");
        made.type = "button";
        made.className = "lb-small";
        made.textContent = label;
        made.addEventListener("click", act);
        return made;
    }

    function changed(editor) {
        renumber(editor);
        editor.dispatchEvent(new Event("change", {bubbles: true}));
    }

    function move(editor, row, by) {
        const rows = rowsOf(editor);
        const other = rows[rows.indexOf(row) + by];
        if (!other) { return; }
        if (by < 0) { other.before(row); } else { other.after(row); }
        changed(editor);
        const again = row.querySelector("[data-lb-move='" + by + "']");
        (again.disabled ? row.querySelector(TEXTS) : again).focus();
    }

    function remove(editor, row) {
        const rows = rowsOf(editor);
        if (rows.length === 1) { empty(row); row.querySelector(TEXTS).focus(); return; }
        const next = rows[rows.indexOf(row) + 1] || rows[rows.indexOf(row) - 1];
        row.remove();
        changed(editor);
        next.querySelector(TEXTS).focus();
    }

    function equip(editor, row) {
        const tools = document.createElement("div");
        tools.className = "lb-tools";
        [[-1, editor.dataset.lbUp], [1, editor.dataset.lbDown]].forEach(function (step) {
            const made = button(step[1], function () { move(editor, row, step[0]); });
            made.dataset.lbMove = step[0];
            tools.append(made);
        });
        tools.append(button(editor.dataset.lbRemove, function () { remove(editor, row); }));
        row.append(tools);
    }

    function add(editor) {
        const rows = rowsOf(editor);
        const last = rows[rows.length - 1];
        const fresh = last.cloneNode(true);
        fresh.querySelector(".lb-tools").remove();
        empty(fresh);
        const role = last.querySelector("select");
        if (role) { fresh.querySelector("select").value = role.value === "user" ? "assistant" : "user"; }
        last.after(fresh);
        equip(editor, fresh);
        changed(editor);
        fresh.querySelector(TEXTS).focus();
    }

    function start(editor) {
        if (editor.dataset.lbReady) { return; }
        editor.dataset.lbReady = "1";
        const rows = rowsOf(editor);
        const last = rows[rows.length - 1];
        // The empty row is for pages without scripts.
        if (rows.length > 1 && isEmpty(last)) { last.remove(); }
        rowsOf(editor).forEach(function (row) { equip(editor, row); });
        const more = button(editor.dataset.lbAdd, function () { add(editor); });
        more.classList.add("lb-add");
        editor.append(more);
        renumber(editor);
    }

    function startAll() { document.querySelectorAll("[data-lb-prompt]").forEach(start); }

    document.addEventListener("DOMContentLoaded", function () {
        startAll();
        // Another runner brings other settings (admin.js).
        document.addEventListener("lb:grown", startAll);
    });
})();
