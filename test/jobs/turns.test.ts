import { expect, test } from "vitest";
import { createTurns } from "../../src/jobs/turns.js";

const never = new AbortController().signal;

test("so many go at a time, in the order in which they came", async () => {
  const turns = createTurns(2);
  const order: number[] = [];
  let going = 0;
  let most = 0;
  const work = async (number: number) => {
    using _turn = await turns.take(never);
    order.push(number);
    most = Math.max(most, ++going);
    await new Promise((resolve) => setImmediate(resolve));
    going--;
  };
  await Promise.all(Array.from({ length: 20 }, (_, number) => work(number)));
  expect(order).toEqual(Array.from({ length: 20 }, (_, number) => number));
  expect(most).toBe(2);
});

test("who gives up in line holds nobody up", async () => {
  const turns = createTurns(1);
  const first = await turns.take(never);
  const leaving = new AbortController();
  const second = turns.take(leaving.signal);
  const third = turns.take(never);
  leaving.abort(new Error("cancelled"));
  await expect(second).rejects.toThrow("cancelled");
  first[Symbol.dispose]();
  (await third)[Symbol.dispose]();
  await expect(turns.take(AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
});
