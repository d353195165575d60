/**
 * Writes every document that is made from code; run by `npm run gen`, which builds first. With `--check` it writes
 * nothing and fails, naming the files that are not what the code says.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { renderConfigTables, renderEnvironmentExample } from "./gen/config.mjs";
import { renderErrors } from "./gen/errors.mjs";
import { renderFold } from "./gen/fold.mjs";
import { renderJobs } from "./gen/jobs.mjs";
import { renderMetrics } from "./gen/metrics.mjs";
import { renderReportTemplates } from "./gen/report-templates.mjs";
import { renderSchema } from "./gen/schema.mjs";

const root = resolve(import.meta.dirname, "..");

/** `render` returns the text, or undefined while there is nothing to make it from. `region`: only that part of the file. */
const documents = [
  { path: ".env.example", render: renderEnvironmentExample },
  { path: "docs/config.md", region: "settings", render: renderConfigTables },
  { path: "docs/errors.md", region: "codes", render: renderErrors },
  { path: "docs/fold.sql", render: renderFold },
  { path: "docs/jobs.md", region: "jobs", render: renderJobs },
  { path: "docs/metrics.md", region: "metrics", render: renderMetrics },
  { path: "docs/reports.md", region: "templates", render: renderReportTemplates },
  { path: "docs/schema.txt", render: renderSchema },
];

const check = process.argv.includes("--check");
const stale = [];
for (const { path, region, render } of documents) {
  const text = await render(root);
  if (text === undefined) {
    console.log(`${path}: skipped, the code that it is made from does not exist yet`);
    continue;
  }
  const file = join(root, path);
  const current = await readIfThere(file);
  const wanted = region === undefined ? text : withRegion(path, current, region, text);
  if (current === wanted) continue;
  stale.push(path);
  if (check) continue;
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, wanted);
  console.log(`${path}: written`);
}
if (check && stale.length > 0) {
  console.error(`Not what the code says: ${stale.join(", ")}. Run \`npm run gen\` and commit the result.`);
  process.exitCode = 1;
}

async function readIfThere(file) {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The file with the text between its two marks replaced; what people wrote around it stays. */
function withRegion(path, current, region, text) {
  const open = `<!-- generated:${region} -->`;
  const close = "<!-- /generated -->";
  const from = current?.indexOf(open) ?? -1;
  const to = current?.indexOf(close, from) ?? -1;
  if (from < 0 || to < from) throw new Error(`${path} needs the lines "${open}" and "${close}"`);
  return `${current.slice(0, from + open.length)}\n\n${text.trim()}\n\n${current.slice(to)}`;
}
