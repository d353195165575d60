import fc from "fast-check";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { eventHistories, historyWindows } from "./event-histories.js";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const contactIds = ["4915550001", "4915550002", "k'3", "4", "5", "6"];

/** Days and nights around the changes of clocks, with a few visits in the months between. */
const times = fc.oneof(
  ...historyWindows.map(({ from, to }) => ({
    weight: 3,
    arbitrary: fc.integer({ min: Date.parse(from) / MINUTE_MS, max: Date.parse(to) / MINUTE_MS - 1 }),
  })),
  {
    weight: 1,
    arbitrary: fc.integer({
      min: Date.parse("2025-04-08T00:00:00Z") / MINUTE_MS,
      max: Date.parse("2025-10-03T00:00:00Z") / MINUTE_MS,
    }),
  },
);

/** One message from a contact; now and then reported again, earlier or better known, by another name or as our own. */
const messages = fc.record({
  at: times,
  contact: fc.constantFrom(...contactIds),
  again: fc.option(
    fc.record({
      delayMs: fc.integer({ min: -3 * DAY_MS, max: 3 * DAY_MS }).filter((delay) => delay !== 0),
      contact: fc.option(fc.constantFrom(...contactIds), { nil: undefined }),
      quality: fc.constantFrom("provider" as const, "gateway" as const),
      type: fc.constantFrom(
        "message.received" as const,
        "message.received" as const,
        "message.sent" as const,
      ),
    }),
    { freq: 3 },
  ),
});

/** Histories in which a handful of contacts write on many days, among messages of every other sort. */
export const contactHistories = (accountId: string): fc.Arbitrary<EventJson[]> =>
  fc
    .tuple(fc.array(messages, { minLength: 1, maxLength: 60 }), eventHistories(accountId))
    .map(([written, others]) => [
      ...written.flatMap(({ at, contact, again }, index): EventJson[] => {
        const shared = { account_id: accountId, message_id: `i${index}` };
        const time = at * MINUTE_MS;
        const first: EventJson = {
          ...shared,
          type: "message.received",
          occurred_at: new Date(time).toISOString(),
          contact_id: contact,
          ...(again?.quality === "provider" ? { time_quality: "gateway" as const } : {}),
        };
        if (again === null) return [first];
        const more: EventJson = {
          ...shared,
          type: again.type,
          occurred_at: new Date(time + again.delayMs).toISOString(),
          time_quality: again.quality,
          ...(again.contact === undefined ? {} : { contact_id: again.contact }),
        };
        return [first, more];
      }),
      ...others,
    ]);
