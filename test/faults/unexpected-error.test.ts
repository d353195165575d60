import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { childrenOf, type Run, until } from "../e2e/support.js";
import { expectSame, logged, shortLocks, watchDownload } from "./oracles.js";

const ROWS = 150_000;
const bugs = [
  { signal: "SIGUSR2", what: "an uncaught exception", message: "a bug was thrown" },
  { signal: "SIGHUP", what: "an unhandled rejection", message: "a bug was rejected" },
] as const;

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let service: Installation;
let undisturbed: Run;
beforeAll(async () => {
  const bugsOnSignal = pathToFileURL(join(import.meta.dirname, "fixtures/bugs-on-signal.mjs"));
  service = await startInstallation({
    queues: "postgres",
    processes: ["service"],
    env: { ...shortLocks, WORKER_COUNT: "2", NODE_OPTIONS: `--import=${bugsOnSignal}` },
  });
  await service.seedMessages(ROWS);
  undisturbed = await service.api.finished((await service.orderLog()).id);
});
afterAll(() => service?.stop());

const pidsOf = async (file: string) =>
  (await childrenOf(service.process("service").pid))
    .filter(({ command }) => command.includes(file))
    .map(({ pid }) => pid);

/** The process has said why, has ended with code 1, and the supervisor has another in its place. */
async function expectReplaced(pid: number, file: string, count: number, message: string): Promise<void> {
  const pids = await until(`another ${file}`, async () => {
    const now = await pidsOf(file);
    return now.length === count && !now.includes(pid) && now;
  });
  expect(pids).toHaveLength(count);
  const output = service.process("service").output();
  const said = logged(output, "unexpected error, exiting").filter((line) => line.pid === pid);
  expect(said).toMatchObject([{ level: "error", error: { message, stack: expect.any(String) } }]);
  expect(logged(output, "child ended").at(-1)).toMatchObject({ how: "code 1" });
}

describe.each(bugs)("$what", ({ signal, message }) => {
  it("F45: ends the worker, which is started again, and its report is run again", async () => {
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    const pid = await until(
      "a worker has begun",
      async () => {
        const { worker, progress_total_rows } = await service.row(id);
        return (await service.filesOf(id)).includes("1.part") || progress_total_rows
          ? Number(worker?.split("/")[1])
          : undefined;
      },
      { everyMs: 2 },
    );
    process.kill(pid, signal);
    await expectReplaced(pid, "workers/main.js", 2, message);
    await download;
    expect(await service.row(id)).toMatchObject({ attempt: 2 });
    await expectSame(service, id, undisturbed);
  });

  it("F45: ends the API, which is started again and answers", async () => {
    const [pid] = await pidsOf("api/main.js");
    process.kill(pid!, signal);
    await expectReplaced(pid!, "api/main.js", 1, message);
    await until("it answers", () =>
      service.api.json("GET", "/analytics/health/ready").then(
        () => true,
        () => false,
      ),
    );
  });
});
