import { z } from "zod";
import { isTimeZone } from "./buckets.js";

/** Monday first, as ISO 8601 counts them. */
export const weekdays = [
  "monday",
  "tuesday",
  "wednesday",
  "thursday",
  "friday",
  "saturday",
  "sunday",
] as const;
export type Weekday = (typeof weekdays)[number];

/** When it opens and closes on the local clock, like `["09:00", "17:30"]`; it may close at `24:00`. */
export type Slot = readonly [start: string, end: string];

/** Business hours of an account, with the zone they are meant in. */
export interface Calendar {
  time_zone: string;
  weekly: { readonly [Day in Weekday]?: readonly Slot[] };
  /** Dates on which it is closed all day. */
  holidays: readonly string[];
  /** Dates with hours of their own, instead of those of their weekday. */
  open: readonly { date: string; slots: readonly Slot[] }[];
}

/** As it is stored: without a zone, the hours follow that of the account. */
export type StoredCalendar = Omit<Calendar, "time_zone"> & { time_zone?: string };

const MAX_SLOTS = 10;
const MAX_SPECIAL_DAYS = 500;

export const ianaZone = z
  .string()
  .max(64)
  .refine(isTimeZone, { error: "must be an IANA time zone", params: { code: "unknown_time_zone" } });

/** What is no time is not compared with others. */
const time = (pattern: RegExp, error: string) => z.string().regex(pattern, { error, abort: true });
const startTime = time(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time from 00:00 to 23:59");
const endTime = time(/^(?!00:00)([01]\d|2[0-3]):[0-5]\d$|^24:00$/, "must be a time from 00:01 to 24:00");

const slot = z.tuple([startTime, endTime], { error: 'must be a pair of times, like ["09:00", "17:30"]' });

/** Times of one length sort as text. */
const slots = z
  .array(slot)
  .max(MAX_SLOTS, `must have at most ${MAX_SLOTS} slots`)
  .superRefine((day, context) => {
    for (const [index, [start, end]] of day.entries()) {
      const issue = (message: string) =>
        context.addIssue({ code: "custom", path: [index], message, params: { code: "invalid_slot" } });
      const before = day[index - 1];
      if (start >= end) issue("must end after it starts; hours past midnight belong to the next day");
      else if (before && start < before[1]) issue("must start when the slot before it has ended, or later");
    }
  });

const date = z.iso.date("must be a date, like 2026-12-25");

const specialDays = <T extends z.ZodType>(day: T) =>
  z.array(day).max(MAX_SPECIAL_DAYS, `must have at most ${MAX_SPECIAL_DAYS} days`).default([]);

/** Reads the hours of an account. What means the same comes out the same: days sorted, closed weekdays left out. */
export const calendarFields = z
  .strictObject({
    time_zone: ianaZone.exactOptional(),
    weekly: z.strictObject(
      Object.fromEntries(weekdays.map((day) => [day, slots.exactOptional()])) as Record<
        Weekday,
        z.ZodExactOptional<typeof slots>
      >,
    ),
    holidays: specialDays(date),
    open: specialDays(z.strictObject({ date, slots })),
  })
  .superRefine(({ holidays, open }, context) => {
    const seen = new Set(holidays);
    for (const [index, day] of open.entries()) {
      const message = holidays.includes(day.date) ? "is a holiday too" : "is given twice";
      if (seen.has(day.date))
        context.addIssue({
          code: "custom",
          path: ["open", index, "date"],
          message,
          params: { code: "duplicate_day" },
        });
      seen.add(day.date);
    }
  })
  .transform(
    (calendar): StoredCalendar => ({
      ...calendar,
      weekly: Object.fromEntries(Object.entries(calendar.weekly).filter(([, day]) => day.length > 0)),
      holidays: [...new Set(calendar.holidays)].sort(),
      open: calendar.open.toSorted((a, b) => (a.date < b.date ? -1 : 1)),
    }),
  );
