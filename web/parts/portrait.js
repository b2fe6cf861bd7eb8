// A portrait drawn from the id of a person: the same everywhere, and good on light and dark.
import { h } from "preact";
import { useMemo } from "preact/hooks";
import { initial } from "../text.js";

/** @param {string} id */
function seed(id) {
  let hash = 2166136261;
  for (let at = 0; at < id.length; at += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(at), 16777619);
  }
  // Ids of people who came one after the other differ little; this spreads them.
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** What lies on the ground tone, on a field of 40. @type {[string, Record<string, any>][]} */
const SHAPES = [
  ["circle", { cx: 40, cy: 40, r: 30 }],
  ["path", { d: "M0 40V20L20 40zM40 0v20L20 0z" }],
  ["rect", { x: 20, y: 0, width: 20, height: 40 }],
  ["path", { d: "M0 0h40L0 40z" }],
  ["path", { d: "M0 40a40 40 0 0 1 40-40v40z" }],
  ["path", { d: "M0 26q10-9 20 0t20 0v14H0z" }],
];

/** @param {{id: string, name: string, size?: "small" | "large"}} props */
export function Portrait({ id, name, size }) {
  const drawn = useMemo(() => {
    const number = seed(id);
    const hue = number % 360;
    const [tag, attributes] = SHAPES[(number >>> 9) % SHAPES.length];
    const turn = ((number >>> 14) % 4) * 90;
    return [
      h("rect", { width: 40, height: 40, fill: `oklch(0.52 0.075 ${hue})` }),
      h(tag, {
        ...attributes,
        fill: `oklch(0.44 0.085 ${(hue + 28) % 360})`,
        transform: `rotate(${turn} 20 20)`,
      }),
    ];
  }, [id]);
  return h(
    "svg",
    { class: `portrait ${size ?? ""}`, viewBox: "0 0 40 40", "aria-hidden": "true" },
    drawn,
    h("text", { x: 20, y: 20, class: "portrait-letter" }, initial(name)),
  );
}
