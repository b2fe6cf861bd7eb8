// Writes `openapi.d.ts`, the types of the API, from `docs/openapi.json`; with `--check` it only
// says whether they are the same.
import { readFileSync, writeFileSync } from "node:fs";

const document = new URL("../../docs/openapi.json", import.meta.url);
const target = new URL("openapi.d.ts", import.meta.url);

/** A schema as a TypeScript type. */
function type(schema) {
  if (schema.$ref) return `Schemas[${JSON.stringify(schema.$ref.split("/").pop())}]`;
  if (schema.allOf) return schema.allOf.map(type).join(" & ");
  if (schema.oneOf) return schema.oneOf.map(type).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (Array.isArray(schema.type)) {
    return schema.type.map((one) => type({ ...schema, type: one })).join(" | ");
  }
  switch (schema.type) {
    case "string": case "boolean": case "null": return schema.type;
    case "integer": case "number": return "number";
    case "array": return `(${type(schema.items)})[]`;
    case "object": return object(schema);
    default: return "unknown";
  }
}

function object({ properties = {}, required = [], additionalProperties }) {
  const fields = Object.entries(properties).map(([name, schema]) => {
    const mark = required.includes(name) ? "" : "?";
    return `${JSON.stringify(name)}${mark}: ${type(schema)};`;
  });
  if (additionalProperties) fields.push(`[name: string]: ${type(additionalProperties)};`);
  return `{ ${fields.join(" ")} }`;
}

const { components } = JSON.parse(readFileSync(document, "utf8"));
const lines = Object.entries(components.schemas).map(
  ([name, schema]) => `  ${JSON.stringify(name)}: ${type(schema)};\n`,
);
const text = `// Made from docs/openapi.json by tools/types.js.\nexport interface Schemas {\n${lines.join("")}}\n`;
if (process.argv[2] === "--check") {
  if (readFileSync(target, "utf8") !== text) {
    console.error("web/tools/openapi.d.ts is not what docs/openapi.json says: node web/tools/types.js");
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, text);
}
