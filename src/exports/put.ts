/** What the writers of rows share: each writes to `out` from `at` on, and returns where it ended. */

const ZERO = 0x30;

/** Faster than `copy` for so few bytes as these are. */
export function put(out: Buffer, at: number, bytes: Buffer): number {
  for (let i = 0; i < bytes.length; i++) out[at + i] = bytes[i]!;
  return at + bytes.length;
}

export const putText = (out: Buffer, at: number, text: string): number => at + out.write(text, at);

/** Digits of a whole number from 0 on; with zeros in front up to `least` digits. */
export function putDigits(out: Buffer, at: number, value: number, least = 1): number {
  let length = least;
  for (let power = 10 ** least; value >= power; power *= 10) length++;
  let rest = value;
  for (let i = at + length - 1; i >= at; i--) {
    const tenth = Math.floor(rest / 10);
    out[i] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return at + length;
}
