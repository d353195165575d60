import { type EventDraft, type ListItem, label, type Reading } from "./source-batch.js";
import { asList, asRecord, asText, isRecord, type UntrustedRecord } from "./untrusted.js";
import { readEcho, readMessage } from "./whatsapp-cloud-messages.js";
import { type CloudPlace, isBusinessPhone } from "./whatsapp-cloud-place.js";

/** One element of `history[]`: a chunk of threads, or the news that sharing was declined. */
export function* readHistoryChunk(chunk: unknown, place: CloudPlace): Generator<ListItem> {
  const { errors, threads } = asRecord(chunk);
  let items = 0;
  for (const item of asList(errors)) {
    items += 1;
    yield { kind: "history:error", item, reading: "system_error" };
  }
  for (const thread of asList(threads)) {
    for (const item of readThread(thread, place)) {
      items += 1;
      yield item;
    }
  }
  // A chunk without anything in it only reports the progress of an import.
  if (items === 0)
    yield {
      kind: "history:chunk",
      item: chunk,
      reading: isRecord(chunk) ? "no_analytics_meaning" : "unknown_shape",
    };
}

function* readThread(thread: unknown, place: CloudPlace): Generator<ListItem> {
  const { id, messages } = asRecord(thread);
  if (!Array.isArray(messages)) yield { kind: "history:thread", item: thread, reading: "unknown_shape" };
  else for (const item of messages) yield readHistoryMessage(item, place, id);
}

/** One message of an import. `threadId` is the user whose chat it is, if the import says so. */
export function readHistoryMessage(item: unknown, place: CloudPlace, threadId?: unknown): ListItem {
  const kind = `history:${label(asRecord(item).type)}`;
  return { kind, item, reading: isRecord(item) ? readOne(item, place, threadId) : "unknown_shape" };
}

function readOne(item: UntrustedRecord, place: CloudPlace, threadId: unknown): Reading {
  if (asText(item.to) !== undefined || isBusinessPhone(item.from, place)) {
    const reading = readEcho({ ...item, to: item.to ?? threadId }, place);
    return typeof reading === "string" ? reading : withStatus(reading, asRecord(item.history_context).status);
  }
  // Without a sender there is no telling whose message it was, and a guess would corrupt both directions.
  if (asText(item.from) === undefined && asText(item.from_user_id) === undefined) return "unknown_shape";
  return readMessage(item, place);
}

const LATER_STAGES: ReadonlyMap<unknown, EventDraft["type"]> = new Map([
  ["DELIVERED", "message.delivered"],
  ["READ", "message.read"],
  ["PLAYED", "message.played"],
]);

/** An import gives one time, that of the message; the stage it has reached since is known, but not when. */
function withStatus(reading: EventDraft[], status: unknown): Reading {
  const [sent] = reading;
  if (sent?.type !== "message.sent" || status === undefined || status === null || status === "SENT")
    return reading;
  if (status === "PENDING") return [{ ...sent, type: "message.queued" }];
  if (status === "ERROR") return [{ ...sent, type: "message.failed", time_quality: "inferred" }];
  const type = LATER_STAGES.get(status);
  return type === undefined ? "unknown_status" : [sent, { ...sent, type, time_quality: "inferred" }];
}
