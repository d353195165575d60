import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export async function renderReportTemplates(root) {
  const file = join(root, "dist/analytics/report-templates/built-in.js");
  if (!existsSync(file)) return undefined;
  const { renderBuiltInTemplates } = await import(pathToFileURL(file).href);
  return renderBuiltInTemplates();
}
