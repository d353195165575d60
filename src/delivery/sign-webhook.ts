import { createHmac, randomBytes } from "node:crypto";

const SECRET_BYTES = 32;
const PREFIX = "whsec_";

export const generateSecret = (): Buffer => randomBytes(SECRET_BYTES);

/** As Standard Webhooks writes a secret. */
export const secretText = (secret: Buffer): string => PREFIX + secret.toString("base64");

/**
 * The headers by which Standard Webhooks proves who sent a body, and when: one signature for each secret, so that a
 * receiver may know the old one or the new one while they change. `id` is the same for every attempt.
 */
export function signedHeaders(
  message: { id: string; body: string; sentAt: Date },
  secrets: readonly Buffer[],
): Record<string, string> {
  const timestamp = Math.floor(message.sentAt.getTime() / 1000);
  const signed = `${message.id}.${timestamp}.${message.body}`;
  const signatures = secrets.map(
    (secret) => `v1,${createHmac("sha256", secret).update(signed).digest("base64")}`,
  );
  return {
    "webhook-id": message.id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": signatures.join(" "),
  };
}
