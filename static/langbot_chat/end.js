/* Keeps the end of the conversation in view for a reader who is there. It watches the
   size of what scrolls, so whatever adds to the conversation need not think of it. */
"use strict";

window.langbotEnd = (scroller) => {
  const NEAR = 24; // pixels; who scrolls down so far wants the end
  let follows = true;
  let last = { top: 0, room: 0 }; // where it stood, and how far down it could go

  function place() {
    const room = scroller.scrollHeight - scroller.clientHeight;
    return { top: scroller.scrollTop, room };
  }

  function follow(wanted) {
    follows = wanted;
    // A browser that keeps a place of its own helps only those who read further up; at
    // the end its scrolling could not be told from the reader's.
    scroller.style.overflowAnchor = wanted ? "none" : "auto";
  }

  function show() {
    follow(true);
    scroller.scrollTop = scroller.scrollHeight;
    last = place();
  }

  /* New content moves nothing upwards unless it is shorter than the old: then it was the
     reader. Whoever went up, however little, is left alone until they come back. */
  function onScroll() {
    const now = place();
    const wentUp = now.top < last.top - 1 && now.room >= last.room;
    if (wentUp) follow(false);
    else if (now.room - now.top < NEAR) follow(true);
    last = now;
  }

  function onResize() {
    if (follows) show();
    else last = place();
  }

  const sizes = new ResizeObserver(onResize);
  for (const node of [scroller, ...scroller.children]) sizes.observe(node);
  scroller.addEventListener("scroll", onScroll, { passive: true });
  scroller.addEventListener("click", (event) => {
    // Who opens a block wants to read it from its beginning.
    if (event.target.closest("summary")) follow(false);
  });
  follow(true);
  return { show };
};
