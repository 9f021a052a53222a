"use strict";
// Names that screen readers need and that Django's own widgets leave out.

(function () {
    function nameChoice(select) {
        const label = document.querySelector('label[for="' + CSS.escape(select.id) + '"]');
        const name = label ? label.textContent.trim() : select.getAttribute("aria-label");
        const box = select.nextElementSibling;
        if (!name || !box) { return; }
        box.querySelectorAll(".select2-selection, .select2-selection__rendered").forEach(function (part) {
            part.setAttribute("aria-label", name);
        });
    }

    function nameWidgets() {
        document.querySelectorAll("select.select2-hidden-accessible").forEach(nameChoice);
        document.querySelectorAll(".help-tooltip[aria-label]").forEach(function (icon) {
            icon.setAttribute("role", "img");
        });
    }

    // After Django's scripts, which make their widgets when the page is loaded.
    window.addEventListener("load", function () { setTimeout(nameWidgets); });
    document.addEventListener("formset:added", function () { setTimeout(nameWidgets); });
})();
