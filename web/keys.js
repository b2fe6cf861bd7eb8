// What single keys do, where nobody is typing.
import { toggleLike } from "./actions.js";
import { startWriting } from "./parts/compose.js";
import { go } from "./router.js";
import { dialog, session } from "./state.js";
import { revealWaiting } from "./views/home.js";

const CHORD_MS = 1000;
let chordUntil = 0;

/** @param {EventTarget | null} target */
const isTyping = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

const cards = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-post]")]);
const current = () => document.activeElement?.closest("[data-post]") ?? null;

/** @param {1 | -1} by */
function move(by) {
  const all = cards();
  const at = all.findIndex((card) => card === current());
  // From nowhere the way begins at what is on the screen.
  const first = all.findIndex((card) => card.getBoundingClientRect().bottom > 80);
  const next = at < 0 ? all[Math.max(0, first)] : all[at + by];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}

/** @type {Record<string, () => void>} */
const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  l: () => {
    const id = /** @type {HTMLElement | null} */ (current())?.dataset.post;
    if (id) void toggleLike(id);
  },
  n: startWriting,
  "/": () => go("/find"),
  ".": revealWaiting,
  "?": () => (dialog.value = "keys"),
};

export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.isComposing) return;
    if (event.key === "Escape" && isTyping(event.target) && !dialog.peek()) {
      /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    if (!session.peek() || dialog.peek() || isTyping(event.target)) return;
    const chord = Date.now() < chordUntil;
    chordUntil = 0;
    if (event.key === "g") {
      chordUntil = Date.now() + CHORD_MS;
      return;
    }
    if (chord && event.key === "h") {
      event.preventDefault();
      go("/");
      return;
    }
    const card = event.target instanceof HTMLElement ? event.target : null;
    if (event.key === "Enter" && card?.dataset.post) {
      go(`/posts/${card.dataset.post}`);
      return;
    }
    const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : undefined;
    if (!act) return;
    event.preventDefault();
    act();
  });
}
