/** No document of ours nests deeper, and what walks through one may recurse. Nothing here does. */
export const MAX_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether the JSON in these bytes nests deeper than `max` levels; says nothing of other bytes. */
export function depthExceeds(bytes: Buffer, max: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    // [ and { differ from ] and } by two.
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > max) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

/** Whether a value out of JSON nests deeper than `max` levels. */
export const nestsDeeper = (value: unknown, max: number): boolean =>
  containersAtLevel(value, max + 1).length > 0;

/** Puts null, in place, where a value out of JSON nests deeper than `max` levels. */
export function cutDeeper(value: unknown, max: number): void {
  for (const container of containersAtLevel(value, max))
    for (const [key, part] of Object.entries(container)) if (isContainer(part)) container[key] = null;
}

type Container = Record<string, unknown>;

const isContainer = (value: unknown): value is Container => typeof value === "object" && value !== null;

/** The objects and lists at a level; the value itself is at level 1. */
function containersAtLevel(value: unknown, level: number): Container[] {
  let containers = [value].filter(isContainer);
  for (let at = 1; at < level && containers.length > 0; at++)
    containers = containers.flatMap((container) => Object.values(container).filter(isContainer));
  return containers;
}
