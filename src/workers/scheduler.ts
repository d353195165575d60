import cron from "node-cron";
import { openContext } from "../context.js";
import { jobs } from "../jobs/index.js";
import { runProcess } from "../run-process.js";
import { createTicker } from "./ticker.js";

runProcess("scheduler", async (config, log) => {
  const context = await openContext(config, { process: "scheduler", log });
  const ticker = createTicker(jobs, context.queues.enqueue, log);
  await ticker.tick(context.now());
  const task = cron.schedule(
    `*/${config.scheduler.tickSeconds} * * * * *`,
    () => ticker.tick(context.now()),
    {
      noOverlap: true,
    },
  );
  return {
    async stop() {
      await task.destroy();
      await context[Symbol.asyncDispose]();
    },
  };
});
