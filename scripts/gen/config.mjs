import { z } from "zod";
import { environment, performanceFile, securityFile } from "../../dist/config.js";
import { code, table } from "./table.mjs";

/** Every entry of a schema: its name, default, allowed values and meaning. */
function settingsOf(schema) {
  const { properties } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return Object.entries(schema.shape).flatMap(([name, entry]) => {
    const group = entry.def.innerType;
    if (group?.shape) return settingsOf(group).map((inner) => ({ ...inner, name: `${name}.${inner.name}` }));
    const preset = entry.safeParse(undefined).data;
    return { name, preset, allowed: allowedText(properties[name]), meaning: entry.description };
  });
}

function allowedText({ type, enum: values, minimum, maximum, minLength, format }) {
  if (values) return values.map(code).join(", ");
  if (minimum !== undefined) return `${minimum} … ${maximum}`;
  if (format === "uri") return "URL";
  if (minLength > 1) return `text of at least ${minLength} characters`;
  return type === "boolean" ? "`true`, `false`" : "text";
}

const isSet = (preset) => preset !== undefined && !(Array.isArray(preset) && preset.length === 0);

export function renderEnvironmentExample() {
  const entries = settingsOf(environment).map(({ name, preset, meaning }) =>
    isSet(preset)
      ? `# ${meaning} Default: ${preset}.\n${name}=${preset}`
      : `# ${meaning} Default: none.\n${name}=`,
  );
  const head = [
    "# Every environment variable of the service, with its default. Empty means not set.",
    "# Each also exists as NAME_FILE: the path of a file that holds the value, for secrets.",
    "# Made from src/config.ts by `npm run gen`. To use it: copy it to .env, change that, and load it",
    "# (`set -a; . ./.env; set +a`); the service itself reads no .env.",
  ];
  return `${head.join("\n")}\n\n${entries.join("\n\n")}\n`;
}

const settingsTable = (schema) =>
  table(
    ["name", "default", "values", "meaning"],
    settingsOf(schema)
      .filter(({ meaning }) => meaning !== undefined)
      .map(({ name, preset, allowed, meaning }) => [
        code(name),
        isSet(preset) ? code(preset) : "none",
        allowed,
        meaning,
      ]),
  );

/** Keys without a meaning are those that are refused by name. */
const refused = (schema) =>
  settingsOf(schema)
    .filter(({ meaning }) => meaning === undefined)
    .map(({ name }) => code(name))
    .join(", ");

export function renderConfigTables() {
  const parts = [
    "## Environment variables",
    settingsTable(environment),
    "## `performance.yaml`",
    settingsTable(performanceFile),
    "## `security.yaml`",
    settingsTable(securityFile),
  ];
  const later = refused(securityFile);
  if (later) parts.push(`${later} do not work yet; start-up refuses them by name.`);
  return parts.join("\n\n");
}
