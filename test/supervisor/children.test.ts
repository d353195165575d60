import { join } from "node:path";
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import winston from "winston";
import { createLog, type Log } from "../../src/log.js";
import { superviseChildren } from "../../src/supervisor/children.js";
import type { ChildSpec } from "../../src/supervisor/kept-child.js";
import { until } from "../embedded/support.js";

const policy = { firstDelayMs: 10, maxDelayMs: 40, steadyAfterMs: 60_000, startAttempts: 3 };

const child = (life: string): ChildSpec => ({
  name: life,
  file: join(import.meta.dirname, "fixtures/child.mjs"),
  env: { ...process.env, LIFE: life },
});

/** A log, and the delays it spoke of. */
function recordingLog(): { log: Log; delays: number[] } {
  const delays: number[] = [];
  const log = createLog({ level: "info", process: "test" }).clear();
  const stream = new Writable({
    write(line, _, done) {
      delays.push(JSON.parse(String(line)).restartInMs);
      done();
    },
  });
  log.add(new winston.transports.Stream({ stream }));
  return { log, delays };
}

test("the delay before a restart doubles up to its limit", async () => {
  const { log, delays } = recordingLog();
  const children = superviseChildren([child("brief")], log, policy);
  await children.ready;
  await until(() => delays.length >= 5);
  await children.stop(5_000);
  expect(delays.slice(0, 5)).toEqual([10, 20, 40, 40, 40]);
});

test("a child that has lived for a while is restarted with the first delay again", async () => {
  const { log, delays } = recordingLog();
  const children = superviseChildren([child("brief")], log, { ...policy, steadyAfterMs: 0 });
  await until(() => delays.length >= 3);
  await children.stop(5_000);
  expect(delays.slice(0, 3)).toEqual([10, 10, 10]);
});

test("a child that never gets ready calls the start off; the others are stopped with it", async () => {
  const { log, delays } = recordingLog();
  const children = superviseChildren([child("steady"), child("stillborn")], log, policy);
  await expect(children.ready).rejects.toThrow("stillborn ended 3 times before it was ready (code 2)");
  await children.stop(5_000);
  expect(delays).toEqual([10, 20]);
});

test("nothing is started again after a stop, even while a restart is due", async () => {
  const { log, delays } = recordingLog();
  const children = superviseChildren([child("brief")], log, {
    ...policy,
    firstDelayMs: 60_000,
    maxDelayMs: 60_000,
  });
  await until(() => delays.length === 1);
  await children.stop(5_000);
  expect(delays).toEqual([60_000]);
});
