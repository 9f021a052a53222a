/* The token of a visit, kept by the browser. Storage may be forbidden; then a visit lasts
   as long as the page. */
"use strict";

window.langbotMemory = (name) => {
  let kept = { token: "" };
  try {
    kept = JSON.parse(localStorage.getItem(name)) || kept;
  } catch {
    /* nothing kept, or nothing readable */
  }
  return {
    get token() {
      return kept.token || "";
    },
    set token(value) {
      kept.token = value;
      try {
        localStorage.setItem(name, JSON.stringify(kept));
      } catch {
        /* private mode: fine without */
      }
    },
  };
};
