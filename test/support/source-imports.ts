import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
export const sourceFolder = join(root, "src");

export interface Import {
  /** Path below `src`, with slashes. */
  from: string;
  /** Path below `src` (`db/client.ts`), or the name of a package (`pg`, `node:fs`). */
  to: string;
  kind: "static" | "type" | "dynamic";
}

/** Source files below `src`, with slashes, sorted. */
export const sourceFiles: readonly string[] = readdirSync(sourceFolder, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts"))
  .sort();

export const readSource = (file: string): string => readFileSync(join(sourceFolder, file), "utf8");

const STATIC = /^(?:import|export)\s+(type\s+)?(?:[^"';()]*?\sfrom\s+)?"([^"]+)"/gm;
/** `typeof import("x")` and `import("x").Name` in types are not told apart from calls: neither is our style. */
const DYNAMIC = /\bimport\(\s*"([^"]+)"/g;

/** What a file imports. A file of our own is named by its source, a package by its name without a path inside it. */
export function importsIn(from: string, text: string): Import[] {
  const target = (specifier: string) => {
    if (specifier.startsWith(".")) return posix.join(dirname(from), specifier).replace(/\.js$/, ".ts");
    return specifier.match(/^(@[^/]+\/[^/]+|[^/]+)/)![0];
  };
  return [
    ...[...text.matchAll(STATIC)].map(([, type, to]) => ({
      from,
      to: target(to!),
      kind: type ? ("type" as const) : ("static" as const),
    })),
    ...[...text.matchAll(DYNAMIC)].map(([, to]) => ({ from, to: target(to!), kind: "dynamic" as const })),
  ];
}
