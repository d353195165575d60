import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { checkFile } from "../exports/check-file.js";
import { runCommand } from "./run-command.js";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
/** What is read of a manifest. */
const manifestShape = z.object({
  file_name: z.string(),
  bytes: count,
  rows: count,
  sha256,
  parts: z.array(z.object({ offset: count, bytes: count, sha256 })),
});

/**
 * `npm run verify:file -- <manifest.json> <file>`: whether a downloaded file is the one that its manifest describes. Exits 1 when
 * it is not, and says which parts have to be fetched again.
 */
await runCommand(async () => {
  const [manifestPath, path] = process.argv.slice(2);
  if (manifestPath === undefined || path === undefined) {
    console.error("Usage: npm run verify:file -- <manifest.json> <file>");
    return 2;
  }
  const manifest = manifestShape.safeParse(parsed(await readFile(manifestPath, "utf8")));
  if (!manifest.success) {
    console.error(`${manifestPath} is no manifest: ${z.prettifyError(manifest.error)}`);
    return 2;
  }
  const { bytes, rows, parts } = manifest.data;
  const found = await checkFile(createReadStream(path), manifest.data);
  if (found.matches) {
    console.log(
      `${path}: ${rows} rows, ${bytes} bytes, ${parts.length} parts, SHA-256 ${found.sha256}: as it should be.`,
    );
    return 0;
  }
  console.error(
    `${path}: ${found.bytes} bytes, SHA-256 ${found.sha256}: not the file of ${bytes} bytes, ${manifest.data.sha256}.`,
  );
  for (const part of found.brokenParts) {
    const { offset, bytes: length } = parts[part]!;
    console.error(
      `Part ${part} is broken: fetch it again with the header "Range: bytes=${offset}-${offset + length - 1}".`,
    );
  }
  return 1;
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
