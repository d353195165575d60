import { isRecord } from "./untrusted.js";

/**
 * The events of a delivery: the delivery itself, or what is under `events`, as a list of envelopes or as an object of
 * event names and data. What the delivery says of all of them (`session`, `timestamp`) each may say of itself.
 */
export function envelopesIn(payload: unknown): readonly unknown[] {
  if (!isRecord(payload)) return [payload];
  const { events, session, timestamp } = payload;
  const shared = { session, timestamp };
  if (Array.isArray(events))
    return events.map((envelope: unknown) => (isRecord(envelope) ? { ...shared, ...envelope } : envelope));
  if (!isRecord(events)) return [payload];
  return Object.entries(events).map(([event, data]) => ({ ...shared, event, data }));
}
