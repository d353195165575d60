import { hash } from "node:crypto";
import type { Context } from "../../context.js";
import { quarantine } from "../../db/queries/quarantine.js";
import type { Quarantined, SourceBatch } from "../../sources/canonical-event.js";
import { readWhatsappCloud } from "../../sources/whatsapp-cloud.js";
import { parseDeepJson } from "../body.js";
import { MAX_DEPTH } from "../json-depth.js";
import { timeProblem } from "./check-event.js";
import type { Ingest } from "./ingest.js";
import { toQuarantined } from "./quarantine-items.js";
import { toNewEvent } from "./to-new-event.js";

const SOURCE = "whatsapp_cloud";

/** Where goes what names neither a mapped channel nor a business account. */
const UNMAPPED_ACCOUNT = "unmapped";

export interface DeliveryCounts {
  accepted: number;
  duplicates: number;
  quarantined: number;
}

/** Stores one delivery of Meta's: events and quarantine. Resolves after the commits; no content makes it fail. */
export async function takeDelivery(context: Context, ingest: Ingest, body: Buffer): Promise<DeliveryCounts> {
  const batch = refuseFuture(readBody(body), context.now().getTime());
  const channels = await ingest.accounts.ofChannels(channelsOf(batch));
  const accountOf = (wabaId: string, channelId: string | undefined) =>
    (channelId === undefined ? undefined : channels.get(channelId)) ?? (wabaId || UNMAPPED_ACCOUNT);

  const events = batch.events.map(({ wabaId, event }) =>
    toNewEvent({ account_id: accountOf(wabaId, event.channel_id), ...event }),
  );
  await ingest.accounts.ensure(events.map((event) => event.accountId));
  const accepted = await ingest.store(events);
  const items = batch.quarantined.map((item) =>
    toQuarantined(accountOf(item.wabaId, item.channelId), SOURCE, item),
  );
  await quarantine(context.db, items, context.now());
  return { accepted, duplicates: events.length - accepted, quarantined: items.length };
}

function channelsOf(batch: SourceBatch): Set<string> {
  const ids = [
    ...batch.events.map(({ event }) => event.channel_id),
    ...batch.quarantined.map((item) => item.channelId),
  ];
  return new Set(ids.filter((id) => id !== undefined));
}

function readBody(body: Buffer): SourceBatch {
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
    return { events: [], quarantined: [{ ...item, wabaId: "" }] };
  }
  return readWhatsappCloud(payload);
}

/** The adapter knows no clock. */
function refuseFuture(batch: SourceBatch, nowMs: number): SourceBatch {
  const quarantined = [...batch.quarantined];
  const events = batch.events.filter(({ wabaId, event }) => {
    if (!timeProblem(event.occurred_at, nowMs)) return true;
    const { type: kind, channel_id: channelId } = event;
    quarantined.push({ wabaId, channelId, kind, reason: "time_out_of_range", payload: event });
    return false;
  });
  return { events, quarantined };
}
