import { PermanentJobError } from "../../errors.js";
import type { EventType } from "../canonical-event.js";
import type { CellKind } from "./cells.js";

/** A column that is understood: the field of an event that it fills, and how its cells are read. */
export interface ImportColumn {
  name: string;
  path: readonly [string, string?];
  kind: CellKind;
}

const column = (name: string, kind: CellKind, path: readonly [string, string?] = [name]): ImportColumn => ({
  name,
  path,
  kind,
});
const texts = (...names: string[]) => names.map((name) => column(name, "text"));
const words = (...names: string[]) => names.map((name) => column(name, "word"));

/** What is true of a message at every stage. */
const factColumns: readonly ImportColumn[] = [
  ...texts("channel_id", "chat_id", "contact_id", "participant_id", "reply_to", "origin", "agent_id"),
  ...words("direction", "chat_kind", "content_kind", "time_quality"),
  column("text_length", "integer"),
  column("template", "text", ["template", "name"]),
  column("template_id", "text", ["template", "id"]),
  column("template_language", "text", ["template", "language"]),
  column("template_category", "text", ["template", "category"]),
  ...texts("campaign_id", "source"),
  column("tags", "list"),
  column("pricing", "json"),
  column("pricing_billable", "boolean", ["pricing", "billable"]),
  column("pricing_model", "text", ["pricing", "model"]),
  column("pricing_category", "text", ["pricing", "category"]),
  column("pricing_type", "text", ["pricing", "type"]),
  column("error_code", "text", ["error", "code"]),
  column("error_class", "text", ["error", "class"]),
  column("error_title", "text", ["error", "title"]),
];

const eventColumns: readonly ImportColumn[] = [
  ...words("type"),
  ...texts("message_id"),
  column("occurred_at", "time"),
  ...texts("event_id"),
  ...factColumns,
  column("reaction", "json"),
  column("reaction_target", "text", ["reaction", "target"]),
  column("reaction_emoji", "text", ["reaction", "emoji"]),
  column("interactive", "json"),
  column("interactive_kind", "text", ["interactive", "kind"]),
  column("interactive_id", "text", ["interactive", "id"]),
  column("interactive_title", "text", ["interactive", "title"]),
  column("change", "json"),
  column("change_kind", "text", ["change", "kind"]),
  column("change_value", "text", ["change", "value"]),
  column("change_previous", "text", ["change", "previous"]),
  column("change_detail", "text", ["change", "detail"]),
  column("change_subject", "text", ["change", "subject"]),
];

/** The columns of a message's stages, and the event that each of them becomes. */
export const stageColumns: readonly { name: string; type: EventType }[] = [
  { name: "queued_at", type: "message.queued" },
  { name: "accepted_at", type: "message.accepted" },
  { name: "sent_at", type: "message.sent" },
  { name: "delivered_at", type: "message.delivered" },
  { name: "read_at", type: "message.read" },
  { name: "played_at", type: "message.played" },
  { name: "failed_at", type: "message.failed" },
  { name: "received_at", type: "message.received" },
  { name: "deleted_at", type: "message.deleted" },
  { name: "edited_at", type: "message.edited" },
  { name: "revoked_at", type: "message.revoked" },
];

const messageColumns: readonly ImportColumn[] = [
  ...texts("message_id"),
  ...stageColumns.map(({ name }) => column(name, "time")),
  ...factColumns,
];

/** The columns that a file of this format may have. */
export const columnsOf = (format: "events" | "messages"): readonly ImportColumn[] =>
  format === "events" ? eventColumns : messageColumns;

/** Every name that a header can be mapped to. */
export const importColumnNames: readonly string[] = [
  ...new Set([...eventColumns, ...messageColumns].map(({ name }) => name)),
];

export interface Header {
  /** By position; undefined where the file's column means nothing here. */
  columns: readonly (ImportColumn | undefined)[];
  ignored: readonly string[];
}

/** `Sent At`, `sentAt` and `SENT-AT` are all `sent_at`. */
const plainName = (text: string): string =>
  text
    .trim()
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .replace(/[\s_.-]+/g, "_");

/**
 * Which column of the file is which of ours. What the request maps comes first; the others go by their names. Throws when a
 * mapped header is not there, or two headers mean the same.
 */
export function readHeader(
  cells: readonly string[],
  known: readonly ImportColumn[],
  map: Readonly<Partial<Record<string, string>>>,
): Header {
  const columns: (ImportColumn | undefined)[] = cells.map(() => undefined);
  for (const [name, header] of Object.entries(map)) {
    const at = cells.findIndex((cell) => cell.trim() === header!.trim());
    if (at < 0) throw new PermanentJobError("unknown_header", `map[${name}]: the file has no such header.`);
    columns[at] = known.find((candidate) => candidate.name === name);
  }
  for (const [at, cell] of cells.entries()) {
    const name = plainName(cell);
    if (columns[at] || name in map) continue;
    const found = known.find((candidate) => candidate.name === name);
    if (found && columns.includes(found))
      throw new PermanentJobError("ambiguous_header", `Two headers mean ${name}; map one of them.`);
    columns[at] = found;
  }
  return { columns, ignored: cells.filter((_, at) => !columns[at]) };
}

/** Throws `missing_columns` unless the header has them. */
export function requireColumns({ columns }: Header, needed: readonly string[]): void {
  const missing = needed.filter((name) => !columns.some((found) => found?.name === name));
  if (missing.length > 0)
    throw new PermanentJobError(
      "missing_columns",
      `The first row has no ${missing.join(" and no ")}: give the header, or map[${missing[0]}]=<header>.`,
    );
}
