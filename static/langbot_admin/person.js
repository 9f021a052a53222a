"use strict";
// Erasing somebody of whom there is much: the next part is asked for by itself, after a
// moment in which a person can stop it. Without scripts there is a button.

document.addEventListener("DOMContentLoaded", function () {
    const form = document.querySelector("[data-lb-again]");
    if (!form) { return; }
    const timer = setTimeout(function () { form.requestSubmit(); }, 1000);
    // Whoever was quicker asked already; who stops waits for a page that may be slow.
    function leave() { clearTimeout(timer); }
    form.addEventListener("submit", leave);
    form.querySelector("a").addEventListener("click", leave);
});
