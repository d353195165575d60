import { DateTime } from "luxon";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { oracleMessages } from "./oracle-messages.js";

/**
 * Active, new and returning contacts and their cohorts by brute force. Plain and slow on purpose; it shares no code with
 * the service, so the definitions are spelled out here:
 *
 * - A contact is there in a period when at least one inbound message that was received from it has its anchor there.
 * - The local day of an instant is the latest date that the zone's clocks have shown up to the quarter of an hour it
 *   lies in; its week begins on Monday, its month on the 1st.
 * - New in a period: never there in an earlier one of that kind. Returning: there and not new.
 */
export type Period = "day" | "week" | "month";

const SLOT_MS = 15 * 60_000;

function localDay(instant: number, zone: string): string {
  const slot = Math.floor(instant / SLOT_MS) * SLOT_MS;
  // Clocks that go back do so by less than three hours.
  const dates = Array.from({ length: 13 }, (_, back) =>
    DateTime.fromMillis(slot - back * SLOT_MS, { zone }).toFormat("yyyy-MM-dd"),
  );
  return dates.toSorted().at(-1)!;
}

function periodOf(day: string, period: Period): string {
  const date = new Date(`${day}T00:00:00Z`);
  if (period === "month") date.setUTCDate(1);
  if (period === "week") date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString().slice(0, 10);
}

/** For each contact the periods in which it was there, ascending. */
export type OracleContacts = Readonly<Record<Period, readonly (readonly string[])[]>>;

export function oracleContacts(events: readonly EventJson[], zone: string): OracleContacts {
  const days = new Map<string, Set<string>>();
  for (const message of oracleMessages(events).values()) {
    const contact = message.facts.contact_id;
    if (message.facts.direction !== "inbound" || message.stages.received === undefined) continue;
    if (contact === undefined) continue;
    const known = days.get(contact) ?? new Set();
    days.set(contact, known.add(localDay(message.anchor, zone)));
  }
  const all = [...days.values()].map((own) => [...own].toSorted());
  const by = (period: Period) => all.map((own) => [...new Set(own.map((day) => periodOf(day, period)))]);
  return { day: all, week: by("week"), month: by("month") };
}

export interface OracleCounts {
  active_contacts: number;
  new_contacts: number;
  returning_contacts: number;
}

/** The contacts of one period, named by its first date. */
export function oraclePeriod(contacts: OracleContacts, period: Period, starts: string): OracleCounts {
  const active = contacts[period].filter((list) => list.includes(starts));
  const fresh = active.filter((list) => list[0] === starts);
  return counts(active.length, fresh.length);
}

/** The contacts of a range of days; the end is exclusive. */
export function oracleRange({ day: days }: OracleContacts, from: string, to: string): OracleCounts {
  const active = days.filter((list) => list.some((day) => day >= from && day < to));
  return counts(active.length, active.filter((list) => list[0]! >= from).length);
}

const counts = (active: number, fresh: number): OracleCounts => ({
  active_contacts: active,
  new_contacts: fresh,
  returning_contacts: active - fresh,
});

/** Of the contacts who were first there in one period, how many were there in another. */
export const oracleCohort = (
  contacts: OracleContacts,
  period: Period,
  first: string,
  starts: string,
): number => contacts[period].filter((list) => list[0] === first && list.includes(starts)).length;
