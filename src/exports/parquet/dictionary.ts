/** Beyond any of these a dictionary is not worth its place. */
const MAX_ENTRIES = 2 ** 15;
const MAX_BYTES = 2 ** 20;
/** After so many values at most half of them may have been new. */
const TRIAL = 2 ** 12;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** The distinct values of a column in the order of their first appearance. */
export interface Dictionary {
  /** The number of a value, a new one if need be; undefined when the dictionary has grown too large. */
  indexOf(bytes: Buffer, start: number, length: number): number | undefined;
  entries(): number;
  /** Where entry `index` begins and ends in `bytes()`: its length, four bytes, and then itself, as in a page. */
  range(index: number): [start: number, end: number];
  bytes(): Buffer;
  clear(): void;
}

export function createDictionary(): Dictionary {
  const slots = new Int32Array(MAX_ENTRIES * 2);
  const starts = new Int32Array(MAX_ENTRIES + 1);
  const content = Buffer.allocUnsafeSlow(MAX_BYTES);
  let entries = 0;
  let values = 0;
  let last = 0;

  function holds(index: number, bytes: Buffer, start: number, length: number): boolean {
    const from = starts[index]! + 4;
    if (starts[index + 1]! - from !== length) return false;
    for (let i = 0; i < length; i++) if (content[from + i] !== bytes[start + i]) return false;
    return true;
  }

  return {
    indexOf(bytes, start, length) {
      values++;
      // Neighbours are often alike.
      if (last < entries && holds(last, bytes, start, length)) return last;
      let hash = FNV_OFFSET;
      for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ bytes[i]!, FNV_PRIME);
      let slot = (hash ^ (hash >>> 15)) & (slots.length - 1);
      for (; slots[slot] !== 0; slot = (slot + 1) & (slots.length - 1)) {
        last = slots[slot]! - 1;
        if (holds(last, bytes, start, length)) return last;
      }
      const from = starts[entries]!;
      const isTooLarge = entries === MAX_ENTRIES || from + 4 + length > MAX_BYTES;
      if (isTooLarge || (values > TRIAL && entries * 2 > values)) return undefined;
      content.writeUInt32LE(length, from);
      bytes.copy(content, from + 4, start, start + length);
      last = entries++;
      starts[entries] = from + 4 + length;
      slots[slot] = entries;
      return last;
    },
    entries: () => entries,
    range: (index) => [starts[index]!, starts[index + 1]!],
    bytes: () => content.subarray(0, starts[entries]!),
    clear() {
      slots.fill(0);
      entries = 0;
      values = 0;
      last = 0;
    },
  };
}
