import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export async function renderMetrics(root) {
  const file = join(root, "dist/analytics/catalog.js");
  if (!existsSync(file)) return undefined;
  const { renderMetricsTable } = await import(pathToFileURL(file).href);
  return renderMetricsTable?.();
}
