import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalEvent, type EventJson, type EventType } from "../../src/sources/canonical-event.js";
import { eventHistories, historyWindows, shuffleSplitDuplicate } from "../support/event-histories.js";
import { type OracleQuery, oracleKey, oracleMessages, oracleMetrics } from "../support/oracle.js";

function event(
  messageId: string,
  type: EventType,
  occurredAt: string,
  more: Partial<EventJson> = {},
): EventJson {
  return { account_id: "a", message_id: messageId, type, occurred_at: occurredAt, ...more };
}

const query = (more: Partial<OracleQuery>): OracleQuery => ({
  account_id: "a",
  metrics: ["messages_attempted"],
  from: "2025-01-06T00:00:00Z",
  to: "2025-01-07T00:00:00Z",
  interval: "all",
  group_by: [],
  time_zone: "UTC",
  basis: "cohort",
  ...more,
});

const one = (events: EventJson[]) => [...oracleMessages(events).values()][0]!;

describe("a message of the oracle", () => {
  it("keeps the earliest time of each stage, in whole milliseconds", () => {
    const message = one([
      event("m", "message.sent", "2025-01-06T10:00:05Z"),
      event("m", "message.sent", "2025-01-06T10:00:01.2349Z"),
      event("m", "message.delivered", "2025-01-06T11:00:02+01:00"),
    ]);
    expect(message.stages).toEqual({
      sent: Date.parse("2025-01-06T10:00:01.234Z"),
      delivered: Date.parse("2025-01-06T10:00:02Z"),
    });
  });

  it("trusts a stage only if its earliest time comes from the provider or a gateway", () => {
    const message = one([
      event("m", "message.queued", "2025-01-06T10:00:00Z", { time_quality: "gateway" }),
      event("m", "message.sent", "2025-01-06T10:00:01Z", { time_quality: "observed" }),
      event("m", "message.sent", "2025-01-06T10:00:02Z"),
      event("m", "message.read", "2025-01-06T10:00:03Z", { time_quality: "observed" }),
      event("m", "message.read", "2025-01-06T10:00:03Z"),
    ]);
    expect(message.trusted).toEqual(new Set(["queued", "read"]));
  });

  it("takes each fact from the best-timed, then the earliest event that carries it", () => {
    const message = one([
      event("m", "message.queued", "2025-01-06T10:00:00Z", { channel_id: "guess", time_quality: "observed" }),
      event("m", "message.sent", "2025-01-06T10:00:01Z", { template: { name: "t", language: "de" } }),
      event("m", "message.delivered", "2025-01-06T10:00:02Z", { channel_id: "c", template: { name: "u" } }),
      event("m", "message.edited", "2025-01-06T09:00:00Z", { channel_id: "edit" }),
    ]);
    expect(message.facts).toEqual({
      direction: "outbound",
      channel_id: "c",
      template: { name: "t", language: "de" },
    });
  });

  it("infers the direction from the type unless the event says it", () => {
    expect(one([event("m", "message.received", "2025-01-06T10:00:00Z")]).facts.direction).toBe("inbound");
    expect(one([event("m", "message.read", "2025-01-06T10:00:00Z")]).facts.direction).toBe("outbound");
    expect(
      one([event("m", "message.read", "2025-01-06T10:00:00Z", { direction: "inbound" })]).facts.direction,
    ).toBe("inbound");
  });

  it("is anchored at min(queued, accepted, sent), else at its earliest stage", () => {
    const late = [
      event("m", "message.failed", "2025-01-06T09:00:00Z"),
      event("m", "message.sent", "2025-01-06T10:00:00Z"),
    ];
    expect(one(late).anchor).toBe(Date.parse("2025-01-06T10:00:00Z"));
    expect(one(late.slice(0, 1)).anchor).toBe(Date.parse("2025-01-06T09:00:00Z"));
  });

  it("is not made by edits, reactions and preferences", () => {
    const types = [
      "message.edited",
      "message.revoked",
      "message.deleted",
      "reaction.added",
      "preference.changed",
    ];
    const events = types.map((type) => event("m", type as EventType, "2025-01-06T10:00:00Z"));
    expect(oracleMessages(events).size).toBe(0);
  });

  it("belongs to one account", () => {
    const events = ["a", "b"].map((account_id) => ({
      ...event("m", "message.sent", "2025-01-06T10:00:00Z"),
      account_id,
    }));
    expect([...oracleMessages(events).keys()]).toEqual([oracleKey("a", "m"), oracleKey("b", "m")]);
    expect(oracleMetrics(events, query({})).totals).toEqual([{ messages_attempted: 1 }]);
  });

  it("refuses a tie that it cannot break", () => {
    const tie = ["x", "y"].map((channel_id) =>
      event("m", "message.sent", "2025-01-06T10:00:00Z", { channel_id }),
    );
    expect(() => oracleMessages(tie)).toThrow(/tie/);
  });
});

const counts = [
  "messages_attempted",
  "messages_sent",
  "messages_delivered",
  "messages_read",
  "messages_played",
  "messages_failed",
  "messages_pending",
  "messages_received",
];
const totalOf = (events: EventJson[], more: Partial<OracleQuery>) =>
  oracleMetrics(events, query(more)).totals[0];

describe("the counts of the oracle", () => {
  const ofOne = (...types: EventType[]) =>
    counts.map((metric) => {
      const events = types.map((type, index) => event("m", type, `2025-01-06T10:00:0${index}Z`));
      return totalOf(events, { metrics: [metric] })![metric];
    });

  it.each<[EventType[], number[]]>([
    [["message.queued"], [1, 0, 0, 0, 0, 0, 0, 0]],
    [["message.sent"], [1, 1, 0, 0, 0, 0, 1, 0]],
    [
      ["message.sent", "message.delivered"],
      [1, 1, 1, 0, 0, 0, 0, 0],
    ],
    [["message.read"], [1, 1, 1, 1, 0, 0, 0, 0]],
    [["message.played"], [1, 1, 1, 1, 1, 0, 0, 0]],
    [
      ["message.queued", "message.failed"],
      [1, 0, 0, 0, 0, 1, 0, 0],
    ],
    [
      ["message.sent", "message.failed"],
      [1, 1, 0, 0, 0, 1, 0, 0],
    ],
    [
      ["message.failed", "message.delivered"],
      [1, 1, 1, 0, 0, 0, 0, 0],
    ],
    [["message.received"], [0, 0, 0, 0, 0, 0, 0, 1]],
  ])("count %j as %j", (types, expected) => {
    expect(ofOne(...types)).toEqual(expected);
  });

  it("counts nothing outbound for inbound messages and the other way round", () => {
    const read = event("m", "message.read", "2025-01-06T10:00:00Z", { direction: "inbound" });
    const received = event("n", "message.received", "2025-01-06T10:00:00Z", { direction: "outbound" });
    expect(totalOf([read, received], { metrics: counts.toSpliced(2, 4) })).toEqual({
      messages_attempted: 1,
      messages_sent: 0,
      messages_pending: 0,
      messages_received: 0,
    });
  });

  it("puts all in the anchor's bucket by cohort, and each stage in its own by event", () => {
    const events = [
      event("m", "message.queued", "2025-01-06T09:59:59.999Z"),
      event("m", "message.read", "2025-01-06T12:00:00Z"),
      event("m", "message.played", "2025-01-06T11:00:00Z"),
    ];
    const metrics = ["messages_attempted", "messages_sent", "messages_read", "messages_played"];
    const hours = (basis: "cohort" | "event") =>
      oracleMetrics(
        events,
        query({ metrics, interval: "hour", from: "2025-01-06T09:00:00Z", to: "2025-01-06T13:00:00Z", basis }),
      ).rows.map((row) =>
        [String(row.bucket).slice(11, 13), ...metrics.map((metric) => row[metric])].join(" "),
      );
    expect(hours("cohort")).toEqual(["09 1 1 1 1", "10 0 0 0 0", "11 0 0 0 0", "12 0 0 0 0"]);
    // Sent is implied by whatever implies it first: the play at 11:00. The read has its own time.
    expect(hours("event")).toEqual(["09 1 0 0 0", "10 0 0 0 0", "11 0 1 0 1", "12 0 0 1 0"]);
  });

  it("leaves out what lies outside [from, to)", () => {
    const events = [
      "2025-01-05T23:59:59.999Z",
      "2025-01-06T00:00:00Z",
      "2025-01-06T23:59:59.999Z",
      "2025-01-07T00:00:00Z",
    ];
    const sent = events.map((time, index) => event(`m${index}`, "message.sent", time));
    expect(totalOf(sent, { metrics: ["messages_sent"] })).toEqual({ messages_sent: 2 });
  });
});

describe("the rates and times of the oracle", () => {
  const rates = ["delivery_rate", "success_rate", "failure_rate", "read_rate"];

  it("divides what the definitions say", () => {
    const events = [
      event("1", "message.sent", "2025-01-06T10:00:00Z"),
      event("2", "message.delivered", "2025-01-06T10:00:00Z"),
      event("3", "message.read", "2025-01-06T10:00:00Z"),
      event("4", "message.failed", "2025-01-06T10:00:00Z"),
      event("5", "message.queued", "2025-01-06T10:00:00Z"),
    ];
    expect(totalOf(events, { metrics: rates })).toEqual({
      delivery_rate: 2 / 3,
      success_rate: 2 / 3,
      failure_rate: 1 / 5,
      read_rate: 1 / 2,
    });
  });

  it("has no rate and no time where there is nothing to divide by", () => {
    const nothing = { delivery_rate: null, success_rate: null, failure_rate: null, read_rate: null };
    expect(totalOf([], { metrics: rates })).toEqual(nothing);
    expect(totalOf([], { metrics: ["time_to_send_p50", "time_to_send_mean"] })).toEqual({
      time_to_send_p50: null,
      time_to_send_mean: null,
    });
  });

  it("takes nearest-rank percentiles, exact means and the maximum, in seconds", () => {
    const events = [10, 20, 30, 40, 100].flatMap((delay, index) => [
      event(`m${index}`, "message.sent", "2025-01-06T10:00:00Z"),
      event(`m${index}`, "message.delivered", new Date(Date.UTC(2025, 0, 6, 10, 0, delay, 1)).toISOString()),
    ]);
    const names = ["p50", "p75", "p90", "mean", "max"].map((name) => `time_to_deliver_${name}`);
    expect(Object.values(totalOf(events, { metrics: names })!)).toEqual([
      30.001, 40.001, 100.001, 40.001, 100.001,
    ]);
  });

  it("does not put the rank one too high where p * n is whole", () => {
    const events = Array.from({ length: 20 }, (_, index) => [
      event(`m${index}`, "message.queued", "2025-01-06T10:00:00Z"),
      event(`m${index}`, "message.sent", new Date(Date.UTC(2025, 0, 6, 10, 0, index + 1)).toISOString()),
    ]).flat();
    expect(totalOf(events, { metrics: ["time_to_send_p95"] })).toEqual({ time_to_send_p95: 19 });
  });

  it("measures only trusted stages with own times, and runs no clock backwards", () => {
    const events = [
      event("untrusted", "message.delivered", "2025-01-06T10:00:00Z", { time_quality: "observed" }),
      event("untrusted", "message.read", "2025-01-06T10:00:09Z"),
      event("implied", "message.sent", "2025-01-06T10:00:00Z"),
      event("implied", "message.read", "2025-01-06T10:00:09Z"),
      event("backwards", "message.delivered", "2025-01-06T10:00:09Z"),
      event("backwards", "message.read", "2025-01-06T10:00:00Z"),
    ];
    expect(totalOf(events, { metrics: ["time_to_read_max", "time_to_deliver_max"] })).toEqual({
      time_to_read_max: 0,
      time_to_deliver_max: null,
    });
    expect(oracleMessages(events).get(oracleKey("a", "backwards"))?.clockAnomaly).toBe(true);
  });

  it("attributes a time to the end stage's bucket by event", () => {
    const events = [
      event("m", "message.sent", "2025-01-06T10:59:00Z"),
      event("m", "message.delivered", "2025-01-06T11:01:00Z"),
    ];
    const values = (basis: "cohort" | "event") =>
      oracleMetrics(
        events,
        query({
          metrics: ["time_to_deliver_p99"],
          interval: "hour",
          from: "2025-01-06T10:00:00Z",
          to: "2025-01-06T12:00:00Z",
          basis,
        }),
      ).rows.map((row) => row.time_to_deliver_p99);
    expect(values("cohort")).toEqual([120, null]);
    expect(values("event")).toEqual([null, 120]);
  });
});

describe("the dimensions of the oracle", () => {
  const events = [
    event("1", "message.sent", "2025-01-06T10:00:00Z", {
      template: { name: "offer", language: "de" },
      channel_id: "c",
    }),
    event("2", "message.failed", "2025-01-06T10:00:00Z", { error: { code: 131026, class: "recipient" } }),
    event("3", "message.failed", "2025-01-06T11:00:00Z", { error: { code: "131049", class: "pacing" } }),
    event("3", "message.delivered", "2025-01-06T11:00:01Z"),
    event("4", "message.received", "2025-01-06T12:00:00Z"),
  ];

  it("groups by them, null where unknown, without empty buckets", () => {
    const { rows, totals } = oracleMetrics(
      events,
      query({ interval: "hour", group_by: ["template", "direction"] }),
    );
    expect(rows).toEqual([
      { bucket: "2025-01-06T10:00:00.000Z", template: "offer", direction: "outbound", messages_attempted: 1 },
      { bucket: "2025-01-06T10:00:00.000Z", template: null, direction: "outbound", messages_attempted: 1 },
      { bucket: "2025-01-06T11:00:00.000Z", template: null, direction: "outbound", messages_attempted: 1 },
      { bucket: "2025-01-06T12:00:00.000Z", template: null, direction: "inbound", messages_attempted: 0 },
    ]);
    expect(totals).toHaveLength(3);
  });

  it("gives an error to terminal failures only", () => {
    const { totals } = oracleMetrics(events, query({ group_by: ["error_class", "error_code"] }));
    expect(totals).toEqual([
      { error_class: "recipient", error_code: "131026", messages_attempted: 1 },
      { error_class: null, error_code: null, messages_attempted: 2 },
    ]);
  });

  it("filters by them", () => {
    expect(totalOf(events, { filters: { channel_id: ["c", "d"] } })).toEqual({ messages_attempted: 1 });
  });
});

describe("the buckets of the oracle", () => {
  const starts = (more: Partial<OracleQuery>) => oracleMetrics([], query(more)).rows.map((row) => row.bucket);
  const bucketOf = (time: string, more: Partial<OracleQuery>) =>
    oracleMetrics([event("m", "message.sent", time)], query(more)).rows.find(
      (row) => row.messages_attempted === 1,
    )?.bucket;

  it("have 23 and 25 hours in Berlin when the clocks change", () => {
    const berlin = { interval: "day", time_zone: "Europe/Berlin" } as const;
    expect(starts({ ...berlin, from: "2025-03-29T23:00:00Z", to: "2025-03-31T22:00:00Z" })).toEqual([
      "2025-03-29T23:00:00.000Z",
      "2025-03-30T22:00:00.000Z",
    ]);
    expect(starts({ ...berlin, from: "2025-10-25T22:00:00Z", to: "2025-10-27T23:00:00Z" })).toEqual([
      "2025-10-25T22:00:00.000Z",
      "2025-10-26T23:00:00.000Z",
    ]);
    expect(
      bucketOf("2025-03-30T21:59:59.999Z", {
        ...berlin,
        from: "2025-03-30T12:00:00Z",
        to: "2025-03-31T00:00:00Z",
      }),
    ).toBe("2025-03-29T23:00:00.000Z");
  });

  it("repeat the hour that Berlin lives twice", () => {
    expect(
      starts({
        interval: "hour",
        time_zone: "Europe/Berlin",
        from: "2025-10-26T00:00:00Z",
        to: "2025-10-26T02:00:00Z",
      }),
    ).toEqual(["2025-10-26T00:00:00.000Z", "2025-10-26T01:00:00.000Z"]);
  });

  it("follow the half-hour change of Lord Howe Island", () => {
    const lordHowe = { time_zone: "Australia/Lord_Howe" } as const;
    // 6 April 2025 lasts 24.5 hours (+11 to +10:30), 5 October 23.5 hours.
    expect(
      starts({ ...lordHowe, interval: "day", from: "2025-04-05T13:00:00Z", to: "2025-04-06T13:45:00Z" }),
    ).toEqual(["2025-04-05T13:00:00.000Z", "2025-04-06T13:30:00.000Z"]);
    expect(
      starts({ ...lordHowe, interval: "day", from: "2025-10-04T13:30:00Z", to: "2025-10-05T13:15:00Z" }),
    ).toEqual(["2025-10-04T13:30:00.000Z", "2025-10-05T13:00:00.000Z"]);
    // 01:30 to 02:00 comes twice: the whole hour 1 at +11, then half of it at +10:30.
    expect(
      starts({ ...lordHowe, interval: "hour", from: "2025-04-05T14:00:00Z", to: "2025-04-05T16:00:00Z" }),
    ).toEqual(["2025-04-05T14:00:00.000Z", "2025-04-05T15:00:00.000Z", "2025-04-05T15:30:00.000Z"]);
    // The clock jumps from 02:00 to 02:30: hour 2 is half an hour long.
    expect(
      starts({ ...lordHowe, interval: "hour", from: "2025-10-04T14:30:00Z", to: "2025-10-04T17:00:00Z" }),
    ).toEqual(["2025-10-04T14:30:00.000Z", "2025-10-04T15:30:00.000Z", "2025-10-04T16:00:00.000Z"]);
  });

  it("start before `from` where `from` lies inside one", () => {
    const range = { from: "2025-01-08T10:15:00Z", to: "2025-01-08T10:30:00Z", time_zone: "Asia/Kathmandu" };
    expect(starts({ ...range, interval: "15m" })).toEqual(["2025-01-08T10:15:00.000Z"]);
    expect(starts({ ...range, interval: "hour" })).toEqual(["2025-01-08T10:15:00.000Z"]);
    expect(starts({ ...range, interval: "day" })).toEqual(["2025-01-07T18:15:00.000Z"]);
    expect(starts({ ...range, interval: "week" })).toEqual(["2025-01-05T18:15:00.000Z"]);
    expect(starts({ ...range, interval: "month" })).toEqual(["2024-12-31T18:15:00.000Z"]);
    expect(starts({ ...range, interval: "all" })).toEqual(["2025-01-08T10:15:00.000Z"]);
  });

  it("start a day at its first instant where midnight is skipped or comes twice", () => {
    // Beirut skips from 00:00 to 01:00; Havana lives 00:00 to 01:00 twice.
    expect(
      bucketOf("2025-03-30T12:00:00Z", {
        interval: "day",
        time_zone: "Asia/Beirut",
        from: "2025-03-30T12:00:00Z",
        to: "2025-03-30T13:00:00Z",
      }),
    ).toBe("2025-03-29T22:00:00.000Z");
    expect(
      bucketOf("2025-11-02T12:00:00Z", {
        interval: "day",
        time_zone: "America/Havana",
        from: "2025-11-02T12:00:00Z",
        to: "2025-11-02T13:00:00Z",
      }),
    ).toBe("2025-11-02T04:00:00.000Z");
  });
});

describe("the generated histories", () => {
  const { from } = historyWindows[0]!;
  const { to } = historyWindows[1]!;
  const everything = query({
    metrics: [...counts, "time_to_read_mean"],
    from,
    to,
    group_by: ["template", "error_code"],
  });

  it("hold valid events without ties, and any order, duplication and batching means the same", {
    timeout: 60_000,
  }, () => {
    const batches = eventHistories("a").chain((events) =>
      fc.tuple(fc.constant(events), shuffleSplitDuplicate(events)),
    );
    fc.assert(
      fc.property(batches, ([events, disturbed]) => {
        for (const each of events) expect(canonicalEvent.safeParse(each).error).toBeUndefined();
        expect(disturbed.every((batch) => batch.length > 0)).toBe(true);
        expect(disturbed.flat().length).toBeGreaterThanOrEqual(events.length);
        expect(oracleMetrics(disturbed.flat(), everything)).toEqual(oracleMetrics(events, everything));
      }),
      { numRuns: 60 },
    );
  });

  it("meet every odd case", { timeout: 60_000 }, () => {
    const messages = fc
      .sample(eventHistories("a"), { numRuns: 200, seed: 7 })
      .flatMap((events) => [...oracleMessages(events).values()]);
    const share = (test: (message: (typeof messages)[number]) => boolean) => messages.filter(test).length;
    expect(share((message) => message.terminalFailed)).toBeGreaterThan(20);
    expect(share((message) => message.contradiction)).toBeGreaterThan(20);
    expect(share((message) => message.clockAnomaly)).toBeGreaterThan(20);
    expect(share((message) => message.facts.direction === "inbound")).toBeGreaterThan(20);
    expect(share((message) => message.facts.template === undefined)).toBeGreaterThan(20);
    expect(
      share(({ stages }) => stages.read !== undefined && stages.delivered === undefined),
    ).toBeGreaterThan(20);
    expect(share(({ stages, trusted }) => stages.sent !== undefined && !trusted.has("sent"))).toBeGreaterThan(
      20,
    );
  });
});
