import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as errors from "../../dist/errors.js";
import { code, table } from "./table.mjs";

/** `new NotFound("account_not_found", "There is …`: the class, its code and, when it is a literal, the message. */
const THROWN = /new ([A-Z]\w+)\(\s*"([a-z][a-z0-9_]*)"(?:,\s*("(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`))?/g;
/** `code: "invalid_cursor", message: "…`: one mistake among several, in `errors` of the document. */
const ISSUE = /\bcode: "([a-z][a-z0-9_]*)"(?:, message: ("(?:[^"\\]|\\.)*"))?/g;

/** The text of a literal with its values left out; nothing when it is all values. */
function plain(literal = "") {
  const text = literal
    .slice(1, -1)
    .replace(/\$\{[^}]*\}/g, "…")
    .replace(/\\(.)/g, "$1");
  return /\w/.test(text) ? text : "";
}

const classes = new Map(Object.entries(errors));

/** Codes are written where they are thrown; the classes say which status they have. */
export async function renderErrors(root) {
  const source = await readSource(join(root, "src"));
  const problems = new Map();
  for (const [, name, errorCode, message] of source.matchAll(THROWN)) {
    const kind = classes.get(name);
    if (kind === undefined) continue;
    const status = new kind(errorCode, "").status ?? "job";
    const known = problems.get(`${status} ${errorCode}`);
    problems.set(`${status} ${errorCode}`, [status, code(errorCode), name, known?.[3] || plain(message)]);
  }
  const issues = new Map();
  for (const [, issueCode, message] of source.matchAll(ISSUE))
    issues.set(issueCode, [code(issueCode), issues.get(issueCode)?.[1] || plain(message)]);
  const sorted = (rows) => [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  return [
    "## Problems",
    table(["status", "code", "class", "text"], sorted(problems)),
    "`job`: the code of a run that failed for good, in its `error`.",
    "## Codes inside a document",
    "One mistake of several in `errors`, or a fault of the HTTP message itself.",
    table(["code", "text"], sorted(issues)),
  ].join("\n\n");
}

async function readSource(folder) {
  const files = await readdir(folder, { recursive: true });
  const texts = files
    .filter((file) => file.endsWith(".ts"))
    .sort()
    .map((file) => readFile(join(folder, file), "utf8"));
  return (await Promise.all(texts)).join("\n");
}
