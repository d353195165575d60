import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Whether these hex digits are the HMAC of exactly these bytes with one of the secrets: several during a rotation, or
 * one per sender. The body must be the raw one: the same JSON written anew has other bytes.
 */
export function fitsAnySecret(
  algorithm: "sha256" | "sha512",
  rawBody: Buffer,
  hex: string,
  secrets: readonly string[],
): boolean {
  const given = Buffer.from(hex, "hex");
  let matches = false;
  for (const secret of secrets) {
    if (secret === "") continue;
    const expected = createHmac(algorithm, secret).update(rawBody).digest();
    // No early exit: how long the answer takes must not tell which secret was right.
    if (expected.length === given.length && timingSafeEqual(expected, given)) matches = true;
  }
  return matches;
}
