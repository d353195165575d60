import { isRecord } from "./untrusted.js";

const REMOVED = "[removed]";

/**
 * Keys whose values say what an item is, where it belongs and when it was. Everything else may be what somebody wrote,
 * also under keys that nobody has heard of yet, so only these are kept.
 */
const KEPT_KEY =
  /^(?:account|action|decision|direction|event|field|from|id|kind|language|messaging_product|mime_type|object|phase|progress|chunk_order|code|source|status|time|timestamp|to|type|version|(?:[a-z0-9_]*_)?(?:id|ids|type|status|code|kind|timestamp|time|at|category|model|quality|severity)|display_phone_number|_serialized|ack|ackName|messageTimestamp|participant|remote|remoteJid|userJid)$/;

/** Parts that are about a person through and through, ids and numbers included. */
const REMOVED_KEYS: ReadonlySet<string> = new Set([
  ...["name", "profile", "phones", "emails", "addresses", "urls", "org", "vcard", "location"],
  ...["response_json", "payload", "text", "body", "caption", "title", "description", "emoji"],
]);

/** An id or a code: no spaces, so no sentence. */
const PLAIN_VALUE = /^[\w.:@+=/-]{1,512}$/;
const PLAIN_KEY = /^[\w.$-]{1,64}$/;

/**
 * The same structure without anything that a person wrote: ids, types, codes and times stay, the rest reads
 * `[removed]`. What comes out is plain ASCII. Expects JSON of bounded depth.
 */
export function redact(value: unknown): unknown {
  return redactAt("", value);
}

function redactAt(key: string, value: unknown): unknown {
  if (REMOVED_KEYS.has(key)) return value === null ? null : REMOVED;
  if (Array.isArray(value)) return value.map((item) => redactAt(key, item));
  if (isRecord(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, part]) =>
        PLAIN_KEY.test(name) ? [name, redactAt(name, part)] : [REMOVED, REMOVED],
      ),
    );
  if (typeof value !== "string" && typeof value !== "number") return value;
  return KEPT_KEY.test(key) && PLAIN_VALUE.test(String(value)) ? value : REMOVED;
}
