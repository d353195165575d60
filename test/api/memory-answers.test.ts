import { describe, expect, it } from "vitest";
import { createMemoryAnswers, toAnswer } from "../../src/api/metrics-cache/memory-answers.js";

const answerOf = (bytes: number, fill = "x") => toAnswer(Buffer.alloc(bytes, fill));

describe("answers in memory", () => {
  it("stay within their bytes, and those not used for longest leave", () => {
    const answers = createMemoryAnswers({ maxBytes: 12_000, nowMs: () => 0 });
    for (const key of ["a", "b", "c", "d"]) answers.set(key, answerOf(1_000), 60_000);
    const { bytes, entries } = answers.size();
    expect(entries).toBe(4);
    expect(bytes).toBeGreaterThan(4_000);
    answers.get("a");
    for (let i = 0; i < 6; i++) {
      answers.set(`more-${i}`, answerOf(1_000), 60_000);
      expect(answers.size().bytes).toBeLessThanOrEqual(12_000);
    }
    expect(answers.get("a")).toBeDefined();
    expect(answers.get("b")).toBeUndefined();
    answers.set("a", answerOf(10), 60_000);
    expect(answers.get("a")?.bytes).toHaveLength(10);
  });

  it("count every byte back when they are replaced or too old", () => {
    let nowMs = 0;
    const answers = createMemoryAnswers({ maxBytes: 10_000, nowMs: () => nowMs });
    for (let i = 0; i < 100; i++) answers.set("same", answerOf(i), 1_000);
    expect(answers.size().entries).toBe(1);
    nowMs = 999;
    expect(answers.get("same")).toBeDefined();
    nowMs = 1_000;
    expect(answers.get("same")).toBeUndefined();
    expect(answers.size()).toEqual({ entries: 0, bytes: 0 });
  });

  it("leave when they are too old, also if nobody asks for them again", () => {
    let nowMs = 0;
    const answers = createMemoryAnswers({ maxBytes: 1_000_000, nowMs: () => nowMs });
    for (; nowMs < 100; nowMs++) answers.set(`version-${nowMs}`, answerOf(1_000), 10);
    expect(answers.size().entries).toBe(10);
    expect(answers.size().bytes).toBeLessThan(15_000);
  });

  it("are not pushed out by one that is large", () => {
    const answers = createMemoryAnswers({ maxBytes: 10_000, nowMs: () => 0 });
    answers.set("small", answerOf(10), 1_000);
    answers.set("large", answerOf(5_000), 1_000);
    expect([answers.get("small") !== undefined, answers.get("large")]).toEqual([true, undefined]);
  });

  it("have validators that differ with any byte", () => {
    const tags = [answerOf(10), answerOf(11), answerOf(10, "y"), answerOf(10)].map(({ etag }) => etag);
    expect(new Set(tags).size).toBe(3);
    expect(tags[0]).toBe(tags[3]);
  });
});
