import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chats, draftsOf, locales, nowMs, readChat, render, type Said } from "./chats.js";

const minute = (ms: number) => Math.floor(ms / 60_000) * 60_000;
const inWindow = (said: readonly Said[]) => said.filter(({ wall }) => wall < nowMs);

describe("what a phone exports is read back", () => {
  it.each(locales.map((locale) => [locale.name, locale] as const))("%s", async (_name, locale) => {
    await fc.assert(
      fc.asyncProperty(chats, async (all) => {
        const chat = inWindow(all);
        const rows = await readChat(render(chat, locale), { order: locale.order });
        const drafts = draftsOf(rows);
        expect(rows.flatMap((row) => row.problems)).toEqual([]);
        const told = (time: string) => (locale.seconds ? Date.parse(time) : minute(Date.parse(time)));
        expect(drafts.map((draft) => [told(draft.occurred_at), draft.direction, draft.text_length])).toEqual(
          chat.map(({ wall, author, text }) => [
            locale.seconds ? wall : minute(wall),
            author === "Shop" ? "outbound" : "inbound",
            [...text].length,
          ]),
        );
        expect(new Set(drafts.map((draft) => draft.message_id)).size).toBe(chat.length);
        const times = drafts.map((draft) => Date.parse(draft.occurred_at));
        const isBeforeNext = (time: number, index: number) =>
          index + 1 === times.length ||
          (locale.seconds ? time <= times[index + 1]! : time < times[index + 1]!);
        expect(times.every(isBeforeNext)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("with the same ids whatever phone exported it", async () => {
    await fc.assert(
      fc.asyncProperty(
        chats,
        fc.constantFrom(...locales),
        fc.constantFrom(...locales),
        async (all, one, two) => {
          const ids = async (locale: typeof one) =>
            draftsOf(await readChat(render(inWindow(all), locale), { order: locale.order })).map(
              (draft) => draft.message_id,
            );
          expect(await ids(one)).toEqual(await ids(two));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("and exports that overlap count nothing twice", async () => {
    await fc.assert(
      fc.asyncProperty(chats, fc.nat(), fc.nat(), fc.constantFrom(...locales), async (all, a, b, locale) => {
        const chat = inWindow(all);
        const [start, end] = [a % chat.length, 1 + (b % chat.length)];
        const asked = { order: locale.order, chatId: "c" };
        const ids = async (part: readonly Said[]) =>
          // A part may lack one of the two authors, who then has to say something that counts apart.
          part.some(({ author }) => author === "Shop")
            ? draftsOf(await readChat(render(part, locale), asked)).map((draft) => draft.message_id)
            : [];
        const whole = new Set(await ids(chat));
        expect(whole.size).toBe(chat.length);
        for (const part of [chat.slice(start), chat.slice(0, end)])
          for (const id of await ids(part)) expect(whole).toContain(id);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a chat without seconds", () => {
  const line = (index: number, minute: number) =>
    `13/03/25, 10:0${minute} - ${index % 2 ? "Ann" : "Shop"}: ${index}\n`;
  /** Six messages in each of three minutes. */
  const lines = Array.from({ length: 18 }, (_, index) => line(index, Math.floor(index / 6)));
  const timesOf = async (text: string) =>
    new Map(
      draftsOf(await readChat(text, { order: "dmy", chatId: "c" })).map((draft) => [
        draft.message_id,
        Date.parse(draft.occurred_at),
      ]),
    );

  it("keeps the order of its lines, also where exports of parts of it are merged, each message by its earliest time", async () => {
    const order = [...(await timesOf(lines.join(""))).keys()];
    // A file that breaks off in the minute in which it begins does not say where in it its messages stood.
    const parts = fc
      .tuple(fc.nat(16), fc.nat(17))
      .filter(([from, to]) => to > from && (to % 6 === 5 || to - (to % 6) > from))
      .map(([from, to]) => lines.slice(from, to + 1));
    await fc.assert(
      fc.asyncProperty(fc.array(parts, { minLength: 1, maxLength: 4 }), async (exported) => {
        const merged = new Map<string | undefined, number>();
        for (const part of exported)
          for (const [id, time] of await timesOf(part.join("")))
            merged.set(id, Math.min(time, merged.get(id) ?? time));
        const known = order.filter((id) => merged.has(id)).map((id) => merged.get(id)!);
        expect(known.every((time, index) => index === 0 || known[index - 1]! < time)).toBe(true);
      }),
    );
  });

  it("counts what comes back to a minute after what was there, and more than can be told apart as the last", async () => {
    const times = async (...minutes: number[]) =>
      [...(await timesOf(minutes.map((minute, index) => line(index, minute)).join(""))).values()].map(
        (time) => time - Date.parse("2025-03-13T10:00:00Z"),
      );
    expect(await times(0, 0, 1, 1, 0, 2, 1)).toEqual([998, 999, 60_000, 60_001, 999, 120_000, 60_002]);
    const many = await times(...Array(600).fill(0), ...Array(600).fill(1));
    expect([many[0], many[100], many[101], many[599]]).toEqual([500, 500, 501, 999]);
    expect([many[600], many[1_099], many[1_199]]).toEqual([60_000, 60_499, 60_499]);
  });
});

const ios = (...lines: string[]) => lines.map((line, i) => `[13.03.2025, 10:0${i}:00] ${line}`).join("\r\n");

describe("the messages of a chat", () => {
  it("are told from notices, and attachments by their kind", async () => {
    const rows = await readChat(
      [
        "[13.03.2025, 10:00:00] Ann: \u200eMessages and calls are end-to-end encrypted.",
        "\u200e[13.03.2025, 10:01:00] Ann: \u200e<attached: 00000012-PHOTO-2025-03-13-10-01-00.jpg>",
        "\u200e[13.03.2025, 10:02:00] Shop: \u200evideo omitted",
        "[13.03.2025, 10:03:00] Shop: \u200eThis message was deleted.",
        "[13.03.2025, 10:04:00] Shop: see: <b>",
        "and",
        "",
        "more",
        "\u200e[13.03.2025, 10:05:00] Ann: bill.pdf • \u200e3 pages \u200e<attached: 00000014-bill.pdf>",
        "[13.03.2025, 10:06:00] Ann: hi \u200e<This message was edited>",
        "[13.03.2025, 10:07:00] \u200eAnn changed their phone number",
      ].join("\r\n"),
    );
    expect(rows.map((row) => [row.row, row.drafts[0]?.content_kind, row.drafts[0]?.text_length])).toEqual([
      [1, undefined, undefined],
      [2, "image", undefined],
      [3, "video", undefined],
      [4, "deleted", undefined],
      [5, "text", 18],
      [9, "document", undefined],
      [10, "text", 2],
      [11, undefined, undefined],
    ]);
  });

  it("have the same ids with and without media, on Android too", async () => {
    const chat = (media: string) =>
      `13/03/25, 10:00 - Messages are end-to-end encrypted.\n13/03/25, 10:01 - Ann: ${media}\nlook\n13/03/25, 10:02 - Shop: nice\n` +
      '13/03/25, 10:03 - Ann changed the subject from "a: b" to "c"\n';
    const withMedia = draftsOf(await readChat(chat("\u200eIMG-20250313-WA0001.jpg (file attached)")));
    const without = draftsOf(await readChat(chat("<Media omitted>")));
    expect(withMedia.map((draft) => draft.content_kind)).toEqual(["image", "text"]);
    expect(without.map((draft) => draft.content_kind)).toEqual(["media", "text"]);
    expect(without.map((draft) => draft.message_id)).toEqual(withMedia.map((draft) => draft.message_id));
    expect(without[0]).toMatchObject({ text_length: 4, time_quality: "inferred", source: "chat_export" });
  });

  it("of a group name who wrote them", async () => {
    const text = ios("Shop: a", "Ann: b", "Bob: c");
    await expect(readChat(text)).rejects.toMatchObject({ code: "chat_id_required" });
    const drafts = draftsOf(await readChat(text, { chatId: "team", channelId: "ch" }));
    expect(drafts).toMatchObject([
      { chat_kind: "group", chat_id: "team", type: "message.sent", channel_id: "ch" },
      { contact_id: "Ann", participant_id: "Ann", type: "message.received" },
      { contact_id: "Bob", participant_id: "Bob" },
    ]);
    expect(drafts[0]!.contact_id).toBeUndefined();
  });

  it("of two people name the other one, whatever the business is called", async () => {
    const drafts = draftsOf(await readChat(ios("Shop: the best: a", "Ann: b"), { me: "Shop: the best" }));
    expect(drafts).toMatchObject([
      { contact_id: "Ann", chat_kind: "direct", direction: "outbound", text_length: 1 },
      { contact_id: "Ann", chat_kind: "direct", direction: "inbound" },
    ]);
    expect(drafts[0]!.chat_id).toBe(drafts[1]!.chat_id);
  });

  it("may hold a pasted chat of another style", async () => {
    const rows = await readChat(`${ios("Shop: look", "Ann: yes")}\n13/03/25, 10:01 - Ann: pasted`);
    expect(rows).toHaveLength(2);
  });

  it("take the first of two equal times and move a skipped one forward", async () => {
    const at = async (date: string, time: string) =>
      draftsOf(
        await readChat(`[${date}, ${time}] Shop: a\n[${date}, ${time}] Ann: b`, {
          timeZone: "Europe/Berlin",
          order: "dmy",
        }),
      )[0]!.occurred_at;
    expect(await at("26.10.2025", "02:30:00")).toBe("2025-10-26T00:30:00.000Z");
    expect(await at("30.03.2025", "02:30:00")).toBe("2025-03-30T01:30:00.000Z");
    expect(await at("31.03.2025", "02:30:00")).toBe("2025-03-31T00:30:00.000Z");
  });

  it("with a date that no calendar has are refused alone", async () => {
    const rows = await readChat(`${ios("Shop: a", "Ann: b")}\n[31.02.2025, 10:00:00] Ann: c`, {
      order: "dmy",
    });
    expect(rows[2]).toMatchObject({ row: 3, problems: [{ field: "occurred_at", code: "invalid_time" }] });
  });

  it("with a word for the time of day that is not known are no messages", async () => {
    await expect(readChat("[13.03.2025, 9:00:00 ppp] Shop: a")).rejects.toMatchObject({ code: "not_a_chat" });
  });
});
