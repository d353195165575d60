import { fitsAnySecret } from "./hmac-signature.js";

const SIGNATURE = /^[0-9a-f]{128}$/;

/**
 * Whether `X-Webhook-Hmac` was made over exactly these bytes with one of the keys. WAHA names its algorithm in a header
 * beside it; there is one, and another would be no reason to trust a weaker one.
 */
export function verifyWahaSignature(
  rawBody: Buffer,
  headers: { hmac: string; algorithm: string | undefined },
  keys: readonly string[],
): boolean {
  const { hmac, algorithm = "sha512" } = headers;
  return algorithm === "sha512" && SIGNATURE.test(hmac) && fitsAnySecret("sha512", rawBody, hmac, keys);
}
