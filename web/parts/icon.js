// An icon of the one set. Names for screen readers stand at the button that holds it.
import { h } from "preact";
import { icons } from "../vendor/icons.js";

/** @param {{name: string}} props */
export const Icon = ({ name }) =>
  h(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" },
    icons[name].map(([tag, attributes]) => h(tag, attributes)),
  );

/** The mark of Mini-SNS: a word, and its echo. */
export const Mark = () =>
  h(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true" },
    h("path", { class: "mark-paper", d: "M8 3h16a5 5 0 0 1 5 5v12a5 5 0 0 1-5 5H14l-6 5v-5a5 5 0 0 1-5-5V8a5 5 0 0 1 5-5z" }),
    h("path", { class: "mark-ink", d: "M9 18.5v-5.2a3.5 3.5 0 0 1 7 0v5.2m0-5.2a3.5 3.5 0 0 1 7 0v5.2" }),
  );
