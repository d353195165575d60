import type { SourceBatch } from "./canonical-event.js";
import { createBatch, type ItemPlace, type ListItem, label, type Reading } from "./source-batch.js";
import { asRecord, asText, isRecord, type UntrustedRecord } from "./untrusted.js";
import { changeFields, readChange, readPreference } from "./whatsapp-cloud-changes.js";
import { readHistoryChunk, readHistoryMessage } from "./whatsapp-cloud-history.js";
import { readEcho, readMessage } from "./whatsapp-cloud-messages.js";
import { type CloudPlace, placeOf } from "./whatsapp-cloud-place.js";
import { readStatus } from "./whatsapp-cloud-statuses.js";

/** Meta's dashboard sends its tests from this account. */
const DASHBOARD_ACCOUNT = "0";
/** The webhook fields that are understood, by what is made of them. docs/sources.md names each. */
export const whatsappCloudFields = {
  /** The value holds lists of items. Which list means what does not depend on the field: Meta mixes them. */
  lists: ["messages", "smb_message_echoes", "history", "user_preferences"],
  changes: changeFields,
  /** Nothing about messaging. Fields named `group_…` belong here too. */
  meaningless: [
    ...["account_settings_update", "automatic_events", "business_status_update", "calls", "flows"],
    ...["message_template_library", "messaging_handovers", "partner_solutions"],
    ...["payment_configuration_update", "smb_app_state_sync", "tracking_events"],
  ],
} as const;
const LIST_FIELDS: ReadonlySet<string> = new Set(whatsappCloudFields.lists);
const CHANGE_FIELDS: ReadonlySet<string> = new Set(whatsappCloudFields.changes);
const MEANINGLESS_FIELDS: ReadonlySet<string> = new Set(whatsappCloudFields.meaningless);

/** One item of a payload, where it stood, and what was made of it. */
interface ReadItem {
  place: ItemPlace;
  item: unknown;
  reading: Reading;
}

interface ListReader {
  /** The first half of the kind of a quarantined item. */
  name: string;
  /** The member of an item that says what it is: the second half. */
  variant?: string;
  read(item: unknown, place: CloudPlace): Reading;
}

const listReaders: ReadonlyMap<string, ListReader> = new Map<string, ListReader>([
  ["messages", { name: "message", variant: "type", read: readMessage }],
  ["message_echoes", { name: "echo", variant: "type", read: readEcho }],
  ["statuses", { name: "status", variant: "status", read: readStatus }],
  ["user_preferences", { name: "preference", variant: "value", read: readPreference }],
  ["errors", { name: "error", read: () => "system_error" }],
  ["calls", { name: "call", read: () => "no_analytics_meaning" }],
  ["groups", { name: "group", read: () => "no_analytics_meaning" }],
]);
const unknownList: ListReader = { name: "list", read: () => "unknown_shape" };

/**
 * Meta's WhatsApp Cloud API webhook as canonical events. Whatever the JSON is, it never throws, and every item of it
 * ends in `events` or in `quarantined`. Pure: it knows no clock, so a time far ahead is left for the caller to refuse.
 */
export function readWhatsappCloud(payload: unknown): SourceBatch {
  const writer = createBatch();
  for (const { place, item, reading } of readPayload(payload)) writer.add(place, item, reading);
  return writer.batch;
}

function* readPayload(payload: unknown): Generator<ReadItem> {
  const { object, entry } = asRecord(payload);
  const place = { namedAccount: "", channelId: undefined, kind: "payload" };
  if (object !== "whatsapp_business_account" || !Array.isArray(entry))
    yield { place, item: payload, reading: "not_a_whatsapp_webhook" };
  else if (entry.length === 0) yield { place, item: payload, reading: "empty" };
  else for (const item of entry) yield* readEntry(item);
}

function* readEntry(entry: unknown): Generator<ReadItem> {
  const { id, time, changes } = asRecord(entry);
  const wabaId = asText(id);
  const place = { namedAccount: wabaId ?? "", channelId: undefined, kind: "entry" };
  if (!Array.isArray(changes)) yield { place, item: entry, reading: "not_a_whatsapp_webhook" };
  else if (wabaId === undefined) yield { place, item: entry, reading: "missing_id" };
  else if (changes.length === 0) yield { place, item: entry, reading: "empty" };
  else for (const change of changes) yield* readFieldChange(change, wabaId, time);
}

/** A change is one item, unless its value holds lists: then their elements are the items. */
function* readFieldChange(change: unknown, wabaId: string, entryTime: unknown): Generator<ReadItem> {
  const { field, value } = asRecord(change);
  const place = placeOf(wabaId, entryTime, asRecord(value));
  let items = 0;
  if (wabaId !== DASHBOARD_ACCOUNT && typeof field === "string" && LIST_FIELDS.has(field)) {
    for (const { kind, item, reading } of readLists(field, asRecord(value), place)) {
      items += 1;
      yield { place: itemPlace(place, kind), item, reading };
    }
  }
  if (items > 0) return;
  yield {
    place: itemPlace(place, `field:${label(field)}`),
    item: change,
    reading: readWhole(field, value, place),
  };
}

const itemPlace = ({ wabaId, channelId }: CloudPlace, kind: string): ItemPlace => ({
  namedAccount: wabaId,
  channelId,
  kind,
});

function readWhole(field: unknown, value: unknown, place: CloudPlace): Reading {
  if (place.wabaId === DASHBOARD_ACCOUNT) return "dashboard_test";
  if (typeof field !== "string") return "unknown_shape";
  if (LIST_FIELDS.has(field)) return isRecord(value) ? "empty" : "unknown_shape";
  if (MEANINGLESS_FIELDS.has(field) || field.startsWith("group_")) return "no_analytics_meaning";
  return CHANGE_FIELDS.has(field) ? readChange(field, value, place) : "unknown_field";
}

/** Members that are no lists are the context of the items and not items themselves. */
function* readLists(field: string, value: UntrustedRecord, place: CloudPlace): Generator<ListItem> {
  for (const [key, list] of Object.entries(value)) {
    if (key === "contacts") continue;
    if (Array.isArray(list)) yield* readList(field, key, list, place);
    else if (list !== null && (key === "history" || listReaders.has(key)))
      yield { kind: `list:${key}`, item: list, reading: "unknown_shape" };
  }
}

function* readList(field: string, key: string, list: unknown[], place: CloudPlace): Generator<ListItem> {
  if (key === "history") {
    for (const chunk of list) yield* readHistoryChunk(chunk, place);
  } else if (field === "history" && key === "messages") {
    // Beside the chunks of an import stand its media messages again, now with their media, from either side.
    for (const item of list) yield readHistoryMessage(item, place);
  } else {
    const { name, variant, read } = listReaders.get(key) ?? { ...unknownList, name: `list:${label(key)}` };
    for (const item of list) {
      const kind = variant === undefined ? name : `${name}:${label(asRecord(item)[variant])}`;
      yield { kind, item, reading: read(item, place) };
    }
  }
}
