import { CronExpressionParser } from "cron-parser";
import { z } from "zod";

/** Fires are at least so far apart: requests are on quarters of an hour, and each fire is a file. */
export const MIN_PAUSE_MINUTES = 15;

const DAY_MS = 24 * 3_600_000;
const MINUTES_A_DAY = 24 * 60;
const MAX_LENGTH = 200;

/** When a schedule fires, on the clock of its zone. Dates are midnights in UTC, so that their arithmetic needs no zone. */
export interface Cron {
  /** Minutes of the day, ascending. */
  times: readonly number[];
  /** Whether the hour field begins with `*`: it follows the hours as they pass, instead of naming some of a date. */
  followsHours: boolean;
  matchesDate(dateMs: number): boolean;
}

const fieldNames = ["minute", "hour", "day of the month", "month", "weekday"] as const;
/** Digits, lists, ranges, steps and names; `L` is the last day of a month. The parser knows more than is documented. */
const allowed = /^(\*|[0-9a-z]+(-[0-9a-z]+)?)(\/\d+)?(,(\*|[0-9a-z]+(-[0-9a-z]+)?)(\/\d+)?)*$/i;
const monthNames = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec";
const words = [/[a-z]/i, /[a-z]/i, /[a-km-z]/i, letters(monthNames), letters("sun|mon|tue|wed|thu|fri|sat")];

/** Matches what has a word that is none of these. */
function letters(names: string): RegExp {
  return new RegExp(`(?<![a-z])(?!(${names})(?![a-z]))[a-z]`, "i");
}

/** Those that were read: the parser takes half a millisecond. What is wrong is not kept. */
const known = new Map<string, Cron>();
const MAX_KNOWN = 1_000;

/** Reads five fields; throws an `Error` whose message says what is wrong with them. */
export function parseCron(text: string): Cron {
  const cron = known.get(text) ?? readCron(text);
  if (known.size < MAX_KNOWN) known.set(text, cron);
  return cron;
}

function readCron(text: string): Cron {
  const fields = text.trim().split(/\s+/);
  if (text.startsWith("@"))
    throw new Error("nicknames are not known; write five fields, @daily as 0 0 * * *");
  if (fields.length !== 5)
    throw new Error(`has ${fields.length} fields; five are needed: ${fieldNames.join(", ")}`);
  for (const [index, field] of fields.entries())
    if (!allowed.test(field) || words[index]!.test(field))
      throw new Error(`${fieldNames[index]}: ${JSON.stringify(field.slice(0, 40))} is not understood`);
  const { minute, hour, dayOfMonth, month, dayOfWeek } = readFields(fields);
  const times = hour.values.flatMap((each) => minute.values.map((part) => each * 60 + part));
  const days = new Set<number | string>(dayOfMonth.values);
  const months = new Set<number>(month.values);
  const weekdays = new Set(dayOfWeek.values.map((day) => Number(day) % 7));
  const [anyDay, anyWeekday] = [fields[2] === "*", fields[4] === "*"];
  return {
    times: [...new Set(times)].sort((a, b) => a - b),
    followsHours: fields[1]!.startsWith("*"),
    matchesDate(dateMs) {
      const date = new Date(dateMs);
      if (!months.has(date.getUTCMonth() + 1)) return false;
      const isLast = days.has("L") && new Date(dateMs + DAY_MS).getUTCDate() === 1;
      const day = anyDay || isLast || days.has(date.getUTCDate());
      const weekday = anyWeekday || weekdays.has(date.getUTCDay());
      // Where both are restricted, either is enough, as in every cron.
      return anyDay || anyWeekday ? day && weekday : day || weekday;
    },
  };
}

function readFields(fields: readonly string[]) {
  // Names may be in any case, `L` may not.
  const read = (each: readonly string[]) => CronExpressionParser.parse(each.join(" ").toUpperCase()).fields;
  try {
    return read(fields);
  } catch (error) {
    for (const [index, field] of fields.entries())
      try {
        read(["0", "0", "*", "*", "*"].with(index, field));
      } catch (cause) {
        throw new Error(`${fieldNames[index]}: ${(cause as Error).message}`, { cause });
      }
    throw error;
  }
}

/** A cron expression of an input, kept as it was written but for blanks. */
export const cronExpression = z
  .string()
  .max(MAX_LENGTH)
  .transform((text) => text.trim().split(/\s+/).join(" "))
  .superRefine((text, context) => {
    const issue = (code: string, message: string) =>
      context.addIssue({ code: "custom", message, params: { code } });
    try {
      const cron = parseCron(text);
      if (!everMatches(cron)) issue("never_fires", "no date matches it");
      else if (shortestPause(cron) < MIN_PAUSE_MINUTES)
        issue("too_frequent", `may fire at most once in ${MIN_PAUSE_MINUTES} minutes`);
    } catch (error) {
      issue("invalid_cron", (error as Error).message);
    }
  });

/** Over dates with a leap day among them. */
function everMatches(cron: Cron): boolean {
  for (let date = Date.UTC(2024, 0, 1); date < Date.UTC(2028, 0, 1); date += DAY_MS)
    if (cron.matchesDate(date)) return true;
  return false;
}

/** In minutes, over midnight too. */
function shortestPause({ times }: Cron): number {
  const pauses = times.map((time, index) => (times[index + 1] ?? times[0]! + MINUTES_A_DAY) - time);
  return Math.min(...pauses);
}
