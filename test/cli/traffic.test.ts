import { describe, expect, it } from "vitest";
import { demoPeriod, disturb, generateTraffic } from "../../src/cli/demo/traffic.js";
import { canonicalEvent } from "../../src/sources/canonical-event.js";
import { oracleMessages, oracleMetrics } from "../support/oracle.js";

const period = demoPeriod(Date.parse("2025-06-17T15:30:00Z"));
const options = { seed: 11, messages: 6_000, accountId: "shop", ...period };
const { events, totals } = generateTraffic(options);

describe("the demo's traffic", { timeout: 60_000 }, () => {
  it("covers the last 30 full days", () => {
    expect(new Date(period.from).toISOString()).toBe("2025-05-18T00:00:00.000Z");
    expect(new Date(period.to).toISOString()).toBe("2025-06-17T00:00:00.000Z");
    const times = events.map((event) => Date.parse(event.occurred_at));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(period.from);
    expect(Math.max(...times)).toBeLessThan(period.to);
  });

  it("is the same for the same seed, and another for another", () => {
    expect(generateTraffic(options)).toEqual({ events, totals });
    expect(generateTraffic({ ...options, seed: 12 }).events).not.toEqual(events);
    expect(disturb(events, 1)).toEqual(disturb(events, 1));
    expect(disturb(events, 1)).not.toEqual(disturb(events, 2));
  });

  it("consists of valid events, all different", () => {
    for (const event of events) expect(canonicalEvent.safeParse(event).error).toBeUndefined();
    expect(
      new Set(events.map((event) => `${event.message_id} ${event.type} ${event.occurred_at}`)).size,
    ).toBe(events.length);
  });

  it("knows its own totals, as the oracle counts them", () => {
    expect(oracleMessages(events).size).toBe(options.messages);
    const names = Object.keys(totals) as (keyof typeof totals)[];
    const counted = oracleMetrics(events, {
      account_id: "shop",
      metrics: names.map((name) => `messages_${name}`),
      from: new Date(period.from).toISOString(),
      to: new Date(period.to).toISOString(),
      interval: "all",
      group_by: [],
      time_zone: "UTC",
      basis: "cohort",
    }).totals[0]!;
    expect(counted).toEqual(Object.fromEntries(names.map((name) => [`messages_${name}`, totals[name]])));
    expect(totals.attempted + totals.received).toBe(options.messages);
  });

  it("looks like a business that delivers", () => {
    const within = (value: number, low: number, high: number) => {
      expect(value).toBeGreaterThan(low);
      expect(value).toBeLessThan(high);
    };
    within(totals.sent / totals.attempted, 0.96, 0.98);
    within(totals.delivered / totals.sent, 0.935, 0.965);
    within(totals.read / totals.delivered, 0.66, 0.74);
    within(totals.received / options.messages, 0.08, 0.25);
    within(events.length / options.messages, 3.2, 4.5);
    const messages = [...oracleMessages(events).values()];
    const kindsOf = (pick: (message: (typeof messages)[number]) => string | undefined) =>
      new Set(messages.map(pick).filter((value) => value !== undefined)).size;
    expect(kindsOf((message) => message.facts.template?.name)).toBe(8);
    expect(kindsOf((message) => message.facts.channel_id)).toBe(3);
    expect(kindsOf((message) => message.facts.campaign_id)).toBeGreaterThan(6);
    expect(kindsOf((message) => message.facts.content?.content_kind)).toBe(5);
    expect(kindsOf((message) => message.facts.error?.class)).toBeGreaterThan(5);
    const skipped = messages.filter(
      ({ stages }) => stages.read !== undefined && stages.delivered === undefined,
    );
    within(skipped.length, 50, 1_000);
  });

  it("is more than three events a message, also of many", () => {
    expect(generateTraffic({ ...options, messages: 50_000 }).events.length).toBeGreaterThan(160_000);
  });

  it("arrives disturbed: the same events in another order, a twentieth of them twice", () => {
    const arrived = disturb(events, 5);
    expect(new Set(arrived)).toEqual(new Set(events));
    expect((arrived.length - events.length) / events.length).toBeGreaterThan(0.04);
    expect((arrived.length - events.length) / events.length).toBeLessThan(0.06);
    const early = new Map<string, number>();
    const overtaken = arrived.filter((event) => {
      const known = early.get(event.message_id!) ?? 0;
      early.set(event.message_id!, Math.max(known, Date.parse(event.occurred_at)));
      return Date.parse(event.occurred_at) < known;
    });
    expect(overtaken.length).toBeGreaterThan(events.length / 20);
  });
});
