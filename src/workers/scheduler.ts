import cron from "node-cron";
import { openContext } from "../context.js";
import { jobs } from "../jobs/index.js";
import { runProcess } from "../run-process.js";
import { watchClock } from "./clock-watch.js";
import { createTicker } from "./ticker.js";

runProcess("scheduler", async (config, log) => {
  const context = await openContext(config, { process: "scheduler", log });
  const ticker = createTicker(jobs, context.queues.enqueue, log);
  const clock = await watchClock(context);
  const tick = async () => {
    if (clock.isRight()) await ticker.tick(context.now());
  };
  await tick();
  const task = cron.schedule(`*/${config.scheduler.tickSeconds} * * * * *`, tick, { noOverlap: true });
  return {
    async stop() {
      clock.stop();
      await task.destroy();
      await context[Symbol.asyncDispose]();
    },
  };
});
