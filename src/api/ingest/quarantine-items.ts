import { hash } from "node:crypto";
import type { NewQuarantined } from "../../db/queries/quarantine.js";
import type { Quarantined } from "../../sources/canonical-event.js";
import { redact } from "../../sources/redact.js";

const MAX_PAYLOAD_BYTES = 16 * 1024;

/** The row for an item: redacted, short, and equal for equal items. */
export function toQuarantined(accountId: string, source: string, item: Quarantined): NewQuarantined {
  const { reason, kind, channelId } = item;
  // Redacted text is ASCII: its length is its size.
  const payload = JSON.stringify(redact(item.payload) ?? null);
  const hex = hash("sha256", JSON.stringify([source, reason, kind, channelId, payload]));
  return {
    accountId,
    payloadHash: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`,
    source,
    reason,
    kind,
    channelId,
    payload:
      payload.length > MAX_PAYLOAD_BYTES
        ? JSON.stringify({ note: "too large to keep", bytes: payload.length })
        : payload,
  };
}
