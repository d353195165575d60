import { openContext } from "../context.js";
import { runProcess } from "../run-process.js";
import { startWorkers } from "./start-workers.js";

runProcess("worker", async (config, log) => {
  const context = await openContext(config, { process: "worker", log });
  const workers = await startWorkers(context);
  return {
    async stop() {
      await workers.drain(config.shutdownGraceMs);
      await context[Symbol.asyncDispose]();
    },
  };
});
