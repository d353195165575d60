import { createHash } from "node:crypto";

const names = new Map<string, string>();

/**
 * Marks a statement that is so long, and runs so often, that to parse and plan it anew costs more than to run it: each
 * connection does that once. Its plan must be right for any parameters. A connection keeps some 3 MB for each.
 */
export function prepared(text: string): string {
  names.set(text, `prepared_${createHash("md5").update(text).digest("hex").slice(0, 16)}`);
  return text;
}

/** The name under which a connection keeps the statement; undefined for those that are not kept. */
export const preparedName = (text: string): string | undefined => names.get(text);
