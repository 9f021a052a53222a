"use strict";
// Erasing somebody of whom there is much: the next part is asked for by itself, after a
// moment in which a person can stop it. Without scripts there is a button.

document.addEventListener("DOMContentLoaded", function () {
    const form = document.querySelector("[data-lb-again]");
    if (form) { setTimeout(function () { form.requestSubmit(); }, 1000); }
});
