import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SourceBatch, SourceEvent } from "../../src/sources/canonical-event.js";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";

const fixtureFolder = join(import.meta.dirname, "../fixtures/whatsapp-cloud");

export const fixtureNames = readdirSync(fixtureFolder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap(({ name }) => readdirSync(join(fixtureFolder, name)).map((file) => `${name}/${file}`))
  .filter((name) => name.endsWith(".json"))
  .sort();

export const readFixture = (name: string): unknown =>
  JSON.parse(readFileSync(join(fixtureFolder, name), "utf8"));

/** A webhook as Meta wraps it, of one change. */
export const webhook = (field: string, value: unknown, entry: object = {}): unknown => ({
  object: "whatsapp_business_account",
  entry: [{ id: "waba-1", changes: [{ field, value }], ...entry }],
});

const metadata = { display_phone_number: "15550783881", phone_number_id: "phone-1" };
export const messaging = (value: object, field = "messages"): unknown =>
  webhook(field, { messaging_product: "whatsapp", metadata, ...value });

export const at = "1749416383";
export const occurred_at = "2025-06-08T20:59:43.000Z";
export const user = "16505551234";
const channel = { channel_id: "phone-1", source: "whatsapp_cloud", time_quality: "provider" };
export const inbound = {
  ...channel,
  direction: "inbound",
  chat_kind: "direct",
  chat_id: user,
  contact_id: user,
};
export const outbound = {
  ...channel,
  direction: "outbound",
  chat_kind: "direct",
  chat_id: user,
  contact_id: user,
};

export const message = (type: string, rest: object = {}) => ({
  id: "wamid.in",
  from: user,
  timestamp: at,
  type,
  ...rest,
});
export const received = (type: string, rest: object = {}) => messaging({ messages: [message(type, rest)] });
export const status = (value: string, rest: object = {}) =>
  messaging({ statuses: [{ id: "wamid.out", status: value, timestamp: at, recipient_id: user, ...rest }] });
export const echo = (type: string, rest: object = {}) =>
  messaging(
    { message_echoes: [{ id: "wamid.echo", from: "15550783881", to: user, timestamp: at, type, ...rest }] },
    "smb_message_echoes",
  );
export const history = (messages: unknown[], chunk: object = {}) =>
  messaging(
    { history: [{ metadata: { phase: 0 }, threads: [{ id: user, messages }], ...chunk }] },
    "history",
  );

/** The only event of a payload that has nothing else in it. */
export function onlyEvent(payload: unknown): SourceEvent {
  const { events, quarantined } = readWhatsappCloud(payload);
  if (events.length !== 1 || quarantined.length !== 0)
    throw new Error(`expected one event, got ${JSON.stringify({ events, quarantined })}`);
  return events[0]!.event;
}

/** `reason kind` of everything in quarantine, when there are no events. */
export function onlyReasons(payload: unknown): string[] {
  const { events, quarantined } = readWhatsappCloud(payload);
  if (events.length !== 0) throw new Error(`expected no events, got ${JSON.stringify(events)}`);
  return quarantined.map(({ reason, kind }) => `${reason} ${kind}`);
}

/** A batch in one line an item: events first, then what was quarantined. */
export const outline = ({ events, quarantined }: SourceBatch): string[] => [
  ...events.map(({ event }) =>
    [event.type, event.content_kind ?? event.change?.kind].filter(Boolean).join(" "),
  ),
  ...quarantined.map(({ reason, kind }) => `quarantined ${reason} ${kind}`),
];
