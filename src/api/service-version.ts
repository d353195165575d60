import { readFileSync } from "node:fs";

/** package.json lies two folders above the sources and above the build alike. */
export function serviceVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
