import { createHmac } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface SignedWebhook {
  /** Where the sample comes from, for messages. */
  name: string;
  body: Buffer;
  /** The value of `X-Hub-Signature-256`. */
  signature: string;
}

/** As Meta signs: over the raw bytes, because JSON written again need not be the same. */
export function sign(body: Buffer, appSecret: string): string {
  return `sha256=${createHmac("sha256", appSecret).update(body).digest("hex")}`;
}

/** Every sample payload below `directory` (`<project>/<name>.json`), signed, in a stable order. None if it is not there. */
export async function* signedWebhooks(directory: string, appSecret: string): AsyncGenerator<SignedWebhook> {
  const files = await readdir(directory, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of files.filter((file) => file.endsWith(".json")).sort()) {
    const body = await readFile(join(directory, name));
    yield { name, body, signature: sign(body, appSecret) };
  }
}
