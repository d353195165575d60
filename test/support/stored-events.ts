import type { Db } from "../../src/db/client.js";
import { insertEvents } from "../../src/db/queries/insert-events.js";
import { toNewEvent } from "../../src/events/to-new-event.js";
import { canonicalEvent, type EventJson } from "../../src/sources/canonical-event.js";

/** Stores events as ingest does, under another account. An error without a class stays without one. */
export async function storeEvents(
  db: Db,
  accountId: string,
  events: readonly EventJson[],
): Promise<boolean[]> {
  return insertEvents(
    db,
    events.map((json) => {
      const event = canonicalEvent.parse({ ...json, account_id: accountId });
      return { ...toNewEvent(event), errorClass: event.error?.class };
    }),
  );
}
