import { hash } from "node:crypto";
import type { Context } from "../../context.js";
import type { NewEvent } from "../../db/queries/insert-events.js";
import { quarantine } from "../../db/queries/quarantine.js";
import { timeProblem } from "../../events/check-event.js";
import { toNewEvent } from "../../events/to-new-event.js";
import type { Quarantined, ReadSource, SourceBatch, SourceEvent } from "../../sources/canonical-event.js";
import type { QuarantineReason } from "../../sources/source-batch.js";
import { parseDeepJson } from "../body.js";
import { MAX_DEPTH } from "../json-depth.js";
import { type DeliveryOwner, routeDelivery } from "./delivery-owner.js";
import type { Ingest } from "./ingest.js";
import { toQuarantined } from "./quarantine-items.js";

/** A source: its name in the database, and its adapter. */
export interface Source {
  source: string;
  read: ReadSource;
}

export interface DeliveryCounts {
  accepted: number;
  duplicates: number;
  quarantined: number;
}

/**
 * Stores one delivery of a source: events and quarantine. Resolves after the commits; no content makes it fail. What
 * would go to an account outside the owner's is quarantined.
 */
export async function takeDelivery(
  context: Context,
  ingest: Ingest,
  { source, read }: Source,
  body: Buffer,
  owner: DeliveryOwner,
): Promise<DeliveryCounts> {
  const now = context.now();
  const batch = refuseFuture(readBody(body, read, now), now.getTime());
  const channels = await ingest.accounts.ofChannels(channelsOf(batch));
  const accountOf = routeDelivery(channels, owner);

  const events: { row: NewEvent; event: SourceEvent }[] = [];
  const items = batch.quarantined.map((item) =>
    toQuarantined(accountOf(item.namedAccount, item.channelId).accountId, source, item),
  );
  for (const { namedAccount, event } of batch.events) {
    const { accountId, refused } = accountOf(namedAccount, event.channel_id);
    if (refused === undefined) events.push({ row: toNewEvent({ account_id: accountId, ...event }), event });
    else items.push(toQuarantined(accountId, source, refusedItem(event, refused)));
  }
  await ingest.accounts.ensure(events.map(({ row }) => row.accountId));
  const tooOld = await ingest.accounts.tooOld(events.map(({ row }) => row));
  const kept = events.filter(({ row }) => !tooOld.has(row));
  for (const { row, event } of events)
    if (tooOld.has(row)) items.push(toQuarantined(row.accountId, source, refusedItem(event, "too_old")));
  const accepted = await ingest.store(kept.map(({ row }) => row));
  await quarantine(context.db, items, now);
  return { accepted, duplicates: kept.length - accepted, quarantined: items.length };
}

/** An event that is kept aside, and why. */
const refusedItem = (event: SourceEvent, reason: QuarantineReason): Quarantined => ({
  reason,
  kind: event.type,
  channelId: event.channel_id,
  payload: event,
});

function channelsOf(batch: SourceBatch): Set<string> {
  const ids = [
    ...batch.events.map(({ event }) => event.channel_id),
    ...batch.quarantined.map((item) => item.channelId),
  ];
  return new Set(ids.filter((id) => id !== undefined));
}

function readBody(body: Buffer, read: ReadSource, now: Date): SourceBatch {
  let payload: unknown;
  try {
    // Nothing that is read lies deeper, so the items around it count all the same.
    payload = parseDeepJson(body, MAX_DEPTH).value;
  } catch {
    // The bytes may hold anything; their hash tells repetitions apart.
    const item: Quarantined = {
      reason: "invalid_json",
      kind: "payload",
      channelId: undefined,
      payload: { body_bytes_id: hash("sha256", body), status: `${body.length}_bytes` },
    };
    return { events: [], quarantined: [{ ...item, namedAccount: "" }] };
  }
  return read(payload, now.toISOString());
}

/** The adapter knows no clock. */
function refuseFuture(batch: SourceBatch, nowMs: number): SourceBatch {
  const quarantined = [...batch.quarantined];
  const events = batch.events.filter(({ namedAccount, event }) => {
    if (!timeProblem(event.occurred_at, nowMs)) return true;
    quarantined.push({ namedAccount, ...refusedItem(event, "time_out_of_range") });
    return false;
  });
  return { events, quarantined };
}
