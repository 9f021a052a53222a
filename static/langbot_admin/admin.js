"use strict";
// Small helpers of the admin pages. Without scripts every page still works.

(function () {
    // --- settings that belong to a choice (runner, platform) ---------------------

    function valueOf(field) {
        if (field.type === "checkbox") { return field.checked; }
        return field.value;
    }

    function isShown(widget, fieldset) {
        const other = fieldset.querySelector('[name="config__' + CSS.escape(widget.dataset.showField) + '"]');
        if (!other) { return true; }
        let wanted = JSON.parse(widget.dataset.showValue);
        wanted = (Array.isArray(wanted) ? wanted : [wanted]).map(String);
        const found = wanted.includes(String(valueOf(other)));
        const operator = widget.dataset.showOperator;
        if (["eq", "==", "equals", "in"].includes(operator)) { return found; }
        if (["neq", "ne", "!=", "not_equals", "not_in"].includes(operator)) { return !found; }
        return true;
    }

    function showAndHide(fieldset) {
        fieldset.querySelectorAll("[data-show-field]").forEach(function (widget) {
            const row = widget.closest(".form-row");
            if (row) { row.classList.toggle("lb-hidden", !isShown(widget, fieldset)); }
        });
    }

    function watch(fieldset) {
        showAndHide(fieldset);
        fieldset.addEventListener("change", function () { showAndHide(fieldset); });
    }

    let asked = 0;

    async function grow(choice) {
        const fieldset = document.querySelector("fieldset.lb-grown");
        const turn = ++asked;
        fieldset.setAttribute("aria-busy", "true");
        const address = new URL(window.location.href);
        address.searchParams.set(choice.name, choice.value);
        try {
            const answer = await fetch(address, {credentials: "same-origin"});
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const fresh = page.querySelector("fieldset.lb-grown");
            if (turn === asked && fresh) {
                fieldset.replaceWith(document.adoptNode(fresh));
                watch(fresh);
                document.dispatchEvent(new Event("lb:grown"));
            }
        } finally {
            fieldset.removeAttribute("aria-busy");
        }
    }

    function watchChoice(fieldset) {
        const marker = fieldset.querySelector('[name="grown_for"]');
        const choice = ["runner_id", "adapter"]
            .map(function (name) { return document.querySelector('select[name="' + name + '"]'); })
            .find(Boolean);
        if (!marker || !choice) { return; }
        choice.addEventListener("change", function () { grow(choice); });
    }

    // --- tokens --------------------------------------------------------------------

    function copy(button) {
        const field = document.getElementById(button.dataset.lbCopy);
        field.select();
        navigator.clipboard.writeText(field.value).then(function () {
            button.textContent = button.dataset.lbDone;
        });
    }

    document.addEventListener("DOMContentLoaded", function () {
        const fieldset = document.querySelector("fieldset.lb-grown");
        if (fieldset) { watch(fieldset); watchChoice(fieldset); }
        document.querySelectorAll("[data-lb-copy]").forEach(function (button) {
            button.addEventListener("click", function () { copy(button); });
        });
    });
})();
