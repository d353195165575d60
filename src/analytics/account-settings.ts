import { z } from "zod";
import { type Calendar, calendarFields, type StoredCalendar } from "./calendar.js";

/** What an account decides about its conversations; all of it as it counts, defaults included. */
export interface AccountSettings {
  /** A conversation ends when nothing happens for this long. */
  session_gap_hours: number;
  /** An answer counts as one if it comes within this time. */
  reply_window_hours: number;
  /** The target of the reply time. */
  sla_seconds: number;
  /** null: always open. */
  calendar: Calendar | null;
}

/** What was set; everything else has its default. */
export type StoredSettings = Partial<Omit<AccountSettings, "calendar">> & { calendar?: StoredCalendar };

/** What is asked for: null sets a value back to its default. */
export type SettingsChanges = { [Name in keyof StoredSettings]?: StoredSettings[Name] | null | undefined };

export const defaultSettings: Readonly<AccountSettings> = {
  session_gap_hours: 24,
  reply_window_hours: 24,
  sla_seconds: 3_600,
  calendar: null,
};

const within = (max: number, steps: number, what: string) =>
  z.number().refine((value) => value >= 1 && value <= max && Number.isInteger(value * steps), {
    error: `must be ${what} from 1 to ${max.toLocaleString("en")}`,
    params: { code: "out_of_range" },
  });
const hours = (max: number) => within(max, 4, "hours in whole quarters");

/** The changes as JSON has them. A calendar is replaced as a whole. */
export const settingsFields: z.ZodType<SettingsChanges> = z.strictObject({
  session_gap_hours: hours(168).nullable().optional(),
  reply_window_hours: hours(720).nullable().optional(),
  sla_seconds: within(2_592_000, 1, "whole seconds").nullable().optional(),
  calendar: calendarFields.nullable().optional(),
});

/** All that counts for an account. */
export function effectiveSettings(stored: StoredSettings, accountTimeZone: string): AccountSettings {
  const { calendar, ...rest } = stored;
  return {
    ...defaultSettings,
    ...rest,
    ...(calendar && { calendar: { ...calendar, time_zone: calendar.time_zone ?? accountTimeZone } }),
  };
}
