import { CompiledQuery } from "kysely";
import type { Db } from "../client.js";

/** A canonical event, flat, as `message_events` stores it. Absent fields are undefined or null. */
export interface NewEvent {
  accountId: string;
  /** 128 bits as a UUID: equal for deliveries of the same fact. */
  eventKey: string;
  /** 19 bits that order facts of the same millisecond. */
  keyHash: number;
  occurredAtMs: number;
  /** 0 provider, 1 gateway, 2 observed, 3 inferred. */
  timeQuality: number;
  type: string;
  direction?: string | null | undefined;
  textLength?: number | null | undefined;
  messageId?: string | null | undefined;
  channelId?: string | null | undefined;
  chatId?: string | null | undefined;
  chatKind?: string | null | undefined;
  contactId?: string | null | undefined;
  participantId?: string | null | undefined;
  contentKind?: string | null | undefined;
  replyTo?: string | null | undefined;
  origin?: string | null | undefined;
  agentId?: string | null | undefined;
  template?: string | null | undefined;
  templateId?: string | null | undefined;
  templateLanguage?: string | null | undefined;
  templateCategory?: string | null | undefined;
  campaignId?: string | null | undefined;
  errorCode?: string | null | undefined;
  errorClass?: string | null | undefined;
  errorTitle?: string | null | undefined;
  source?: string | null | undefined;
  /** JSON texts; tags an array literal of PostgreSQL. */
  tags?: string | null | undefined;
  reaction?: string | null | undefined;
  interactive?: string | null | undefined;
  pricing?: string | null | undefined;
  change?: string | null | undefined;
}

/** Parameter arrays in statement order: the field, its array type, and whether its text needs quoting. */
const parameters: readonly { field: keyof NewEvent; type: string; quoted: boolean }[] = [
  { field: "accountId", type: "text", quoted: true },
  { field: "eventKey", type: "uuid", quoted: false },
  { field: "keyHash", type: "bigint", quoted: false },
  { field: "occurredAtMs", type: "bigint", quoted: false },
  { field: "timeQuality", type: "smallint", quoted: false },
  { field: "type", type: "event_type", quoted: false },
  { field: "direction", type: "message_direction", quoted: false },
  { field: "textLength", type: "integer", quoted: false },
  { field: "messageId", type: "text", quoted: true },
  { field: "channelId", type: "text", quoted: true },
  { field: "chatId", type: "text", quoted: true },
  { field: "chatKind", type: "text", quoted: true },
  { field: "contactId", type: "text", quoted: true },
  { field: "participantId", type: "text", quoted: true },
  { field: "contentKind", type: "text", quoted: true },
  { field: "replyTo", type: "text", quoted: true },
  { field: "origin", type: "text", quoted: true },
  { field: "agentId", type: "text", quoted: true },
  { field: "template", type: "text", quoted: true },
  { field: "templateId", type: "text", quoted: true },
  { field: "templateLanguage", type: "text", quoted: true },
  { field: "templateCategory", type: "text", quoted: true },
  { field: "campaignId", type: "text", quoted: true },
  { field: "errorCode", type: "text", quoted: true },
  { field: "errorClass", type: "text", quoted: true },
  { field: "errorTitle", type: "text", quoted: true },
  { field: "source", type: "text", quoted: true },
  { field: "tags", type: "text", quoted: true },
  { field: "reaction", type: "text", quoted: true },
  { field: "interactive", type: "text", quoted: true },
  { field: "pricing", type: "text", quoted: true },
  { field: "change", type: "text", quoted: true },
];

const snake = (field: string) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const casts: Partial<Record<keyof NewEvent, string>> = {
  tags: "tags::text[]",
  reaction: "reaction::jsonb",
  interactive: "interactive::jsonb",
  pricing: "pricing::jsonb",
  change: "change::jsonb",
};
const plainFields = parameters
  .map((parameter) => parameter.field)
  .filter((field) => !["keyHash", "occurredAtMs"].includes(field));

/**
 * Appends a batch in one statement, rows in key order so that concurrent batches cannot deadlock. The time's
 * microsecond digit is its quality and `fact_order` packs (quality, time, key hash): see `fold/message-state.ts`.
 */
const insertSql = `
with inserted as (
  insert into message_events (occurred_at, fact_order, ${plainFields.map(snake).join(", ")})
  select 'epoch'::timestamptz + (occurred_at_ms * 1000 + time_quality) * interval '1 microsecond',
         (time_quality::bigint << 61) | ((occurred_at_ms - ${Date.UTC(2009, 0, 1)}) << 19) | key_hash,
         ${plainFields.map((field) => casts[field] ?? snake(field)).join(", ")}
  from unnest(${parameters.map((p, index) => `$${index + 1}::${p.type}[]`).join(", ")})
    as event(${parameters.map((p) => snake(p.field)).join(", ")})
  order by account_id, occurred_at_ms, time_quality, event_key
  on conflict (account_id, occurred_at, event_key) do nothing
  returning account_id, event_key
)
select count(*)::integer as inserted,
       case when count(*) < $${parameters.length + 1}::integer
            then array_agg(account_id || ' ' || event_key) end as identities
from inserted`;

/**
 * Stores events; returns for each whether it was new (`true`) or known already. Committed when it resolves. Two
 * equal events in one call: the first is new.
 */
export async function insertEvents(db: Db, events: readonly NewEvent[]): Promise<boolean[]> {
  if (events.length === 0) return [];
  const arrays = parameters.map(({ field, quoted }) => arrayLiteral(events, field, quoted));
  const result = await db.executeQuery<{ inserted: number; identities: string[] | null }>(
    CompiledQuery.raw(insertSql, [...arrays, events.length]),
  );
  const { inserted, identities } = result.rows[0]!;
  if (inserted === events.length) return events.map(() => true);
  const fresh = new Set(identities ?? []);
  return events.map((event) => fresh.delete(`${event.accountId} ${event.eventKey}`));
}

const NEEDS_ESCAPE = /["\\]/;

/** The column as a PostgreSQL array literal; null when no event has it, which `unnest` pads with nulls. */
function arrayLiteral(events: readonly NewEvent[], field: keyof NewEvent, quoted: boolean): string | null {
  let text = "{";
  let empty = true;
  for (let index = 0; index < events.length; index++) {
    const value = events[index]![field];
    if (index > 0) text += ",";
    if (value === undefined || value === null) {
      text += "NULL";
      continue;
    }
    empty = false;
    if (!quoted) text += value;
    else if (NEEDS_ESCAPE.test(value as string)) text += `"${(value as string).replace(/["\\]/g, "\\$&")}"`;
    else text += `"${value}"`;
  }
  return empty ? null : `${text}}`;
}

/** A text array as a PostgreSQL literal, for the `tags` field. */
export function textArrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}
