import { fitsAnySecret } from "./hmac-signature.js";

const SIGNATURE = /^sha256=([0-9a-f]{64})$/;

/** Whether `X-Hub-Signature-256` was made over exactly these bytes with one of the app secrets. */
export function verifyWhatsappSignature(
  rawBody: Buffer,
  header: string | undefined,
  secrets: readonly string[],
): boolean {
  const hex = SIGNATURE.exec(header ?? "")?.[1];
  return hex !== undefined && fitsAnySecret("sha256", rawBody, hex, secrets);
}
