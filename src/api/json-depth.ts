/** No document of ours nests deeper, and what walks through one may recurse. */
export const MAX_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;

/**
 * The JSON in these bytes without what is in its containers at this level: blank, so that nobody builds it. The same
 * buffer when nothing nests as deep. Says nothing of bytes that are no JSON.
 */
export function emptyAtLevel(bytes: Buffer, level: number): Buffer {
  let emptied: Buffer | undefined;
  let start = 0;
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
      if (++depth !== level) continue;
      emptied ??= Buffer.from(bytes);
      start = i + 1;
    } else if (byte === 0x5d || byte === 0x7d) {
      if (depth-- === level) emptied?.fill(SPACE, start, i);
    }
  }
  if (depth >= level) emptied?.fill(SPACE, start);
  return emptied ?? bytes;
}

/** Whether the JSON in these bytes nests deeper than `max` levels. */
export const depthExceeds = (bytes: Buffer, max: number): boolean => emptyAtLevel(bytes, max + 1) !== bytes;

/** Whether a value out of JSON nests deeper than `max` levels. Does not recurse. */
export function nestsDeeper(value: unknown, max: number): boolean {
  let containers = [value].filter(isContainer);
  for (let level = 1; level <= max && containers.length > 0; level++)
    containers = containers.flatMap((container) => Object.values(container).filter(isContainer));
  return containers.length > 0;
}

const isContainer = (value: unknown): value is object => typeof value === "object" && value !== null;
