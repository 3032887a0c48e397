"use strict";
// Shows one stage at a time, that of the box that was chosen. Without it all are shown.
document.documentElement.classList.add("scripted");
for (const network of document.querySelectorAll(".network")) {
  const boxes = [...network.querySelectorAll("a.box")];
  const parts = [...network.querySelectorAll(".stage")];
  const idOf = (box) => box.getAttribute("href").slice(1);
  const show = (id) => {
    for (const part of parts) part.hidden = part.id !== id;
    for (const box of boxes) {
      if (idOf(box) === id) box.setAttribute("aria-current", "true");
      else box.removeAttribute("aria-current");
    }
  };
  const choose = (box) => {
    show(idOf(box));
    try { history.replaceState(null, "", "#" + idOf(box)); } catch { /* not of every address */ }
    document.querySelector("#" + idOf(box) + " h4").focus();
  };
  const isHere = (id) => parts.some((part) => part.id === id);
  const follow = () => {
    const id = location.hash.slice(1);
    if (isHere(id)) show(id);
  };
  network.addEventListener("click", (event) => {
    const box = event.target.closest("a.box");
    if (!box || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(box);
  });
  network.addEventListener("keydown", (event) => {
    const at = boxes.indexOf(event.target);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: boxes.length - 1 }[event.key];
    if (at >= 0 && next !== undefined) {
      event.preventDefault();
      boxes[Math.min(Math.max(next, 0), boxes.length - 1)].focus();
    } else if (event.key === "Escape" && at < 0) {
      const current = boxes.find((box) => box.hasAttribute("aria-current"));
      if (current) current.focus();
    }
  });
  window.addEventListener("hashchange", follow);
  show(network.dataset.selected);
  follow();
}
