import { createHmac } from "node:crypto";
import { call, type Reply } from "./app.js";

export const WEBHOOK_SECRET = "secret-of-meta";

/** Delivers a payload, or JSON text, as Meta does. The process must have `WEBHOOK_SECRET` as its app secret. */
export function deliverSigned(url: string, payload: unknown): Promise<Reply> {
  const raw = typeof payload === "string" ? payload : JSON.stringify(payload);
  const signature = `sha256=${createHmac("sha256", WEBHOOK_SECRET).update(raw).digest("hex")}`;
  return call(url, "POST", "/analytics/sources/whatsapp-cloud", {
    raw,
    headers: { "content-type": "application/json", "x-hub-signature-256": signature },
  });
}
