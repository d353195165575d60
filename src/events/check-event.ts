import type { z } from "zod";
import type { NewEvent } from "../db/queries/insert-events.js";
import {
  canonicalEvent,
  EARLIEST_EVENT_MS,
  FUTURE_TOLERANCE_MS,
  needsMessageId,
} from "../sources/canonical-event.js";
import { toNewEvent } from "./to-new-event.js";

/** Why one event is not taken: a stable code and a sentence that names the field and its limit. */
export interface Refusal {
  code: string;
  message: string;
  /** What it is about, when that is one field: `template.name`. */
  field?: string;
}

/**
 * The row for one event of a sender, or why it is refused. Pure. Whether its account exists is checked later. Expects
 * JSON of bounded depth.
 */
export function checkEvent(value: unknown, nowMs: number): NewEvent | Refusal {
  const parsed = canonicalEvent.safeParse(value);
  if (!parsed.success) return refusalOf(parsed.error.issues[0]!, value);
  const event = parsed.data;
  if (event.message_id === undefined && needsMessageId(event.type))
    return missing("message_id", `is required for ${event.type}`);
  return timeProblem(event.occurred_at, nowMs) ?? toNewEvent(event);
}

export const isRefusal = (checked: NewEvent | Refusal): checked is Refusal => "code" in checked;

/** The refusal of a time that nothing of WhatsApp can have; undefined for a good one. */
export function timeProblem(occurredAt: string, nowMs: number): Refusal | undefined {
  const ms = Date.parse(occurredAt);
  if (ms >= EARLIEST_EVENT_MS && ms <= nowMs + FUTURE_TOLERANCE_MS) return undefined;
  return {
    code: "time_out_of_range",
    field: "occurred_at",
    message: "occurred_at: must lie between 2009-01-01 and 24 hours from now",
  };
}

const missing = (field: string, what: string): Refusal => ({
  code: "missing_field",
  field,
  message: `${field}: ${what}`,
});

/** For an event from before the time of which its account keeps messages. */
export const tooOldRefusal = (floor: Date): Refusal => ({
  code: "too_old",
  field: "occurred_at",
  message: `occurred_at: the account keeps messages from ${floor.toISOString()} on`,
});

function refusalOf(issue: z.core.$ZodIssue, input: unknown): Refusal {
  const at = pathOf(issue.path);
  if (issue.code === "unrecognized_keys") {
    const names = issue.keys.slice(0, 3).map((key) => shown(pathOf([...issue.path, key])));
    return { code: "unknown_field", message: `${names.join(", ")}: unknown field` };
  }
  if (issue.path.length === 0) return { code: "invalid_value", message: "an event is a JSON object" };
  if (issue.code === "invalid_type" && valueAt(input, issue.path) === undefined)
    return missing(at, "is required");
  if (issue.code === "invalid_value" && at === "type")
    return { code: "unknown_type", field: at, message: `type: must be one of ${issue.values.join(", ")}` };
  if (issue.code === "too_big" && (issue.origin === "string" || issue.origin === "array"))
    return {
      code: "too_long",
      field: at,
      message: `${at}: may have ${issue.maximum} ${issue.origin === "string" ? "characters" : "items"}`,
    };
  const named = issue.code === "custom" ? (issue.params as { code?: string } | undefined)?.code : undefined;
  return { code: named ?? "invalid_value", field: at, message: `${at}: ${describe(issue)}` };
}

/** The one union of the schema is an error's code. */
const describe = (issue: z.core.$ZodIssue): string =>
  issue.code === "invalid_union" ? "must be an integer or a text of 1 to 64 characters" : issue.message;

/** Names of fields come from the sender: they are repeated short, and without what JSON or a log cannot hold. */
const SHOWN_LENGTH = 80;
const shown = (name: string): string =>
  JSON.stringify(name.length > SHOWN_LENGTH ? `${name.slice(0, SHOWN_LENGTH)}…` : name);

const pathOf = (keys: readonly PropertyKey[]): string =>
  keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`;
    return path === "" ? String(key) : `${path}.${String(key)}`;
  }, "");

const valueAt = (input: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
