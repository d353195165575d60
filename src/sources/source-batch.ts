import { canonicalEvent, type EventJson, type SourceBatch } from "./canonical-event.js";
import { present } from "./untrusted.js";

/** Why an item of a source became no event. Stable: stored, counted, and explained in docs/sources.md. */
export const quarantineReasons = [
  "invalid_json",
  "not_a_whatsapp_webhook",
  "not_an_event",
  "dashboard_test",
  "unknown_field",
  "unknown_event",
  "no_analytics_meaning",
  "system_error",
  "contact_identity_change",
  "unsupported_change",
  "unknown_status",
  "unknown_shape",
  "missing_id",
  "bad_timestamp",
  "time_out_of_range",
  "too_old",
  "invalid_event",
  "empty",
  "unmapped_channel",
  "foreign_channel",
] as const;
export type QuarantineReason = (typeof quarantineReasons)[number];

/** An event before its last check. Keys that hold undefined count as absent. */
export type EventDraft = Omit<EventJson, "account_id">;
/** What a reader makes of one item: its events, or why there are none. */
export type Reading = EventDraft[] | QuarantineReason;

/** One element of a list in a payload. */
export interface ListItem {
  kind: string;
  item: unknown;
  reading: Reading;
}

/** Where an item stood: enough to route and to label it. */
export interface ItemPlace {
  /** Empty when the payload names no account. */
  namedAccount: string;
  channelId: string | undefined;
  kind: string;
}

/** Kinds become labels of counters and columns: what a stranger calls his type must stay short and plain. */
const PLAIN_LABEL = /^[\w.-]{1,64}$/;
export const label = (value: unknown): string =>
  typeof value === "string" && PLAIN_LABEL.test(value) ? value : "other";

const channelIdSchema = canonicalEvent.shape.channel_id;
const accountIdSchema = canonicalEvent.shape.account_id;
/** Stands in for the account that is not known yet while an event is checked. */
const ANY_ACCOUNT = "any";

export interface BatchWriter {
  readonly batch: SourceBatch;
  add(place: ItemPlace, payload: unknown, reading: Reading): void;
}

/** Collects readings. The last gate: an event in the batch always passes the canonical schema. */
export function createBatch(): BatchWriter {
  const batch: SourceBatch = { events: [], quarantined: [] };

  function quarantine(
    { namedAccount, channelId, kind }: ItemPlace,
    payload: unknown,
    reason: QuarantineReason,
  ): void {
    batch.quarantined.push({
      namedAccount: accountIdSchema.safeParse(namedAccount).success ? namedAccount : "",
      channelId: channelIdSchema.safeParse(channelId).success ? channelId : undefined,
      kind,
      reason,
      payload,
    });
  }

  return {
    batch,
    add(place, payload, reading) {
      if (typeof reading === "string") {
        quarantine(place, payload, reading);
        return;
      }
      const { namedAccount } = place;
      // What the payload names may come to be the account, so it is checked as one along with the rest.
      const results = reading.map((draft) =>
        canonicalEvent.safeParse({ account_id: namedAccount || ANY_ACCOUNT, ...present(draft) }),
      );
      if (results.some((result) => !result.success)) {
        quarantine(place, payload, "invalid_event");
        return;
      }
      for (const { data } of results) {
        const { account_id, ...event } = data!;
        batch.events.push({ namedAccount, event });
      }
    },
  };
}
