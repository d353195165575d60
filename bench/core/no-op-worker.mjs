import { Worker } from "bullmq";
import { openStore } from "../../dist/jobs/queue.js";
import { createLog } from "../../dist/log.js";

/** A process that works off jobs which do nothing, and tells its parent when as many as it was told are done. */
const { store, queue, concurrency } = JSON.parse(process.argv[2]);
const opened = openStore(store, "no-op worker", createLog({ level: "error", process: "bench" }), "worker");
const { connection, backend } = opened.workerArguments;
const settings = { connection, concurrency };
const work = async () => {};
const worker = backend ? new Worker(queue, work, settings, backend) : new Worker(queue, work, settings);
let left = 0;
const count = (jobs) => {
  left += jobs;
  if (left === 0) process.send("done");
};
worker.on("completed", () => count(-1));
process.on("message", count);
process.on("disconnect", () => process.exit(0));
await worker.waitUntilReady();
process.send("ready");
