// What the client and the console take from npm: checks that their `vendor/` hold exactly what the
// packages hold, or writes them anew with `--write`. Run it where the packages of `package.json` are installed:
//
//   node web/tools/vendor.js FOLDER [--write]      FOLDER has node_modules
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Module in `vendor/` <- module in its package. */
const MODULES = {
  "preact.js": "preact/dist/preact.module.js",
  "preact-hooks.js": "preact/hooks/dist/hooks.module.js",
  "signals-core.js": "@preact/signals-core/dist/signals-core.module.js",
  "signals.js": "@preact/signals/dist/signals.module.js",
  "htm.js": "htm/dist/htm.module.js",
};

/** The same for the operator's console. */
const CONSOLE = { "uPlot.js": "uplot/dist/uPlot.esm.js", "uPlot.css": "uplot/dist/uPlot.min.css" };

/** Packages whose licence is kept, and served beside the client. */
const LICENSED = ["preact", "@preact/signals", "@preact/signals-core", "htm", "lucide-static"];

const ICONS = [
  "arrow-left", "arrow-up", "check", "circle-alert", "compass", "ellipsis", "eye", "eye-off", "heart", "house",
  "link", "pen-line", "reply", "search", "settings", "trash-2", "user", "x",
];

/** Lucide's drawings as data: the client makes elements of them, not HTML. */
function icons(packages) {
  const one = (name) => {
    const svg = readFileSync(join(packages, "lucide-static/icons", `${name}.svg`), "utf8");
    const body = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.indexOf("</svg>"));
    const parts = [...body.matchAll(/<(\w+)\s([^>]*?)\/>/g)].map(([, tag, text]) => {
      const pairs = [...text.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]);
      return [tag, Object.fromEntries(pairs)];
    });
    if (parts.length === 0) throw new Error(`the icon ${name} is empty`);
    return `  ${JSON.stringify(name)}: ${JSON.stringify(parts)},\n`;
  };
  const { version } = about(packages, "lucide-static");
  return (
    `// Icons of Lucide ${version} (LICENCES.txt), those that the client uses.\n` +
    `/** @type {Record<string, [string, Record<string, string>][]>} */\n` +
    `export const icons = {\n${ICONS.map(one).join("")}};\n`
  );
}

const about = (packages, name) =>
  JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"));

function licences(packages, names) {
  const one = (name) => {
    const { version, license } = about(packages, name);
    const text = readFileSync(join(packages, name, "LICENSE"), "utf8").trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  };
  return `What these pages have from others.\n\n${names.map(one).join(`\n${"-".repeat(72)}\n\n`)}`;
}

/** The modules of packages, without source maps, which are not shipped. */
const copies = (packages, modules) =>
  Object.fromEntries(
    Object.entries(modules).map(([name, source]) => {
      const text = readFileSync(join(packages, source), "utf8");
      return [name, text.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n")];
    }),
  );

/** What a folder is to hold: these files, and their sums. */
function summed(files) {
  const hash = (text) => createHash("sha256").update(text).digest("hex");
  const sums = Object.entries(files).map(([name, text]) => `${hash(text)}  ${name}\n`);
  return { ...files, SHA256SUMS: sums.sort().join("") };
}

const [place, mode] = process.argv.slice(2);
if (!place) throw new Error("name the folder that has node_modules");
const packages = join(place, "node_modules");
const folders = {
  "web/vendor": summed({
    ...copies(packages, MODULES),
    "icons.js": icons(packages),
    "LICENCES.txt": licences(packages, LICENSED),
  }),
  "console/vendor": summed({
    ...copies(packages, CONSOLE),
    "LICENCES.txt": licences(packages, ["uplot"]),
  }),
};
for (const [folder, files] of Object.entries(folders)) {
  const vendor = new URL(`../../${folder}/`, import.meta.url).pathname;
  if (mode === "--write") {
    mkdirSync(vendor, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(vendor, name), text);
  }
  const read = (name) => {
    try {
      return readFileSync(join(vendor, name), "utf8");
    } catch {
      return undefined;
    }
  };
  const names = new Set([...readdirSync(vendor), ...Object.keys(files)]);
  const wrong = [...names].filter((name) => read(name) !== files[name]);
  for (const name of wrong) console.error(`${folder}/${name} is not what its package holds`);
  if (wrong.length > 0) process.exitCode = 1;
}
